"""The doing of a plan: what is not done yet goes through the pool, row by row into the ledger."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.known import Known, since
from tasks.lease import ActorSetup, Assignment
from tasks.ledger import Ledger
from tasks.plan_items import work_items
from tasks.planning import Plan
from tasks.progress import OnProgress, Progress
from tasks.versions import device_class

if TYPE_CHECKING:
    from tasks.actor import StyleActor

_BATCH = {"cuda": 8}
"""Items that share UNet calls, where nobody says; a CPU is as fast with one after the other."""
_SOME = 256


def execute(
    plan: Plan,
    on_progress: OnProgress = lambda _: None,
    actor: "type[StyleActor] | None" = None,
) -> None:
    """Do what a plan has left to do. Doing it again, with the same plan or a new one, resumes.

    Args:
        plan: From :func:`tasks.planning.plan`.
        on_progress: Called in this thread, often; must be quick.
        actor: What to run instead of :class:`tasks.actor.StyleActor`.

    Raises:
        PoolError: no engine can be started, or all of them keep dying.
        RecordError: the ledger is damaged.
        StorageError: the ledger cannot be read or written.
    """
    known = since(plan.known, plan.items)
    done = int(known.done.sum())
    progress = Progress(
        done=done,
        total=len(plan.items),
        ok=known.count("ok"),
        rejected=known.count("rejected"),
        failed=known.count("failed"),
    )
    if done == len(plan.items):
        on_progress(progress)
        return
    from tasks.actor import StyleActor
    from tasks.cluster import connected  # Ray, which planning does without
    from tasks.pool import Pool

    on_progress(replace(progress, phase="starting Ray"))
    ledger = Ledger(plan.spec.output, plan.run_id, known.own.parts if known.own is not None else ())
    ledger.put_together()
    with connected(plan.spec.pool) as layout:
        setup = _setup(plan, layout.threads)
        kind = actor or StyleActor
        pool = Pool(plan.spec.pool, layout, setup, ledger, progress, on_progress, kind)
        pool.run(assignments(plan, known), len(plan.items) - done)


def assignments(plan: Plan, known: Known) -> Iterator[Assignment]:
    """Yield what is left to do, in the plan's order; items are made when they are asked for."""
    offset = 0
    for name, part in plan.items.parts():
        here = slice(offset, offset + len(part))
        offset += len(part)
        left = (~known.done[here]).nonzero()[0]
        standing, spoilt = known.standing[here], known.spoilt[here]
        for begin in range(0, len(left), _SOME):
            places = left[begin : begin + _SOME]
            items = work_items(part.take(pa.array(places)), plan.items.styles)
            for place, item in zip(places, items, strict=True):
                over = bool(spoilt[place])
                adopt = bool(standing[place]) and not over
                yield Assignment(item, adopt=adopt, over=over, part=name)


def _setup(plan: Plan, threads: int) -> ActorSetup:
    spec = plan.spec
    device = device_class(spec)
    return ActorSetup(
        engine=spec.engine.model_copy(update={"device": device}),
        params=spec.params,
        output=spec.output,
        run_id=plan.run_id,
        engine_fingerprint=plan.engine_fingerprint,
        threads=threads,
        batch=spec.pool.batch or _BATCH.get(device, 1),
        overlap=device == "cuda" or threads == 1,
    )
