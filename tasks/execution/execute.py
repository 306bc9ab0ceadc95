"""Execute a plan: run the unfinished items through the pool and write results to the ledger."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.execution.progress import OnProgress, Progress
from tasks.messages import ActorSetup, Assignment
from tasks.planning import Plan
from tasks.planning.resume import CompletedItems, refresh
from tasks.planning.versions import device_class
from tasks.records.ledger import Ledger
from tasks.records.plan_parts import work_items
from tasks.records.students import read_comparisons

if TYPE_CHECKING:
    from tasks.execution.actor import StyleActor

_BATCH = {"cuda": 8}
"""Default number of items per UNet call by device; on a CPU batches bring no speed."""
_SLICE = 256


def execute(
    plan: Plan,
    on_progress: OnProgress = lambda _: None,
    actor: "type[StyleActor] | None" = None,
) -> None:
    """Process the unfinished items of a plan. A repeated call, even with a new plan, resumes.

    Args:
        plan: From :func:`tasks.planning.plan`.
        on_progress: Called often, in this thread; must be fast.
        actor: Actor class; default :class:`tasks.execution.actor.StyleActor`.

    Raises:
        PoolError: no engine can be started, or engines keep dying.
        RecordError: the ledger is damaged.
        StorageError: the ledger cannot be read or written.
    """
    completed = refresh(plan.completed, plan.items)
    done = int(completed.done.sum())
    progress = Progress(
        done=done,
        total=len(plan.items),
        ok=completed.count("ok"),
        rejected=completed.count("rejected"),
        failed=completed.count("failed"),
    )
    if done == len(plan.items):
        on_progress(progress)
        return
    from tasks.cluster.session import connected  # imports Ray, which planning does not need
    from tasks.execution.actor import StyleActor
    from tasks.execution.pool import Pool

    on_progress(replace(progress, phase="starting Ray"))
    before = completed.ledger.parts if completed.ledger is not None else ()
    ledger = Ledger(plan.files, before)
    ledger.compact()
    with connected(plan.spec.pool) as layout:
        setup = replace(actor_setup(plan, layout.threads), refused=_refused(plan))
        kind = actor or StyleActor
        pool = Pool(plan.spec.pool, layout, setup, ledger, progress, on_progress, kind)
        pool.run(assignments(plan, completed), len(plan.items) - done)


def assignments(plan: Plan, completed: CompletedItems) -> Iterator[Assignment]:
    """Yield the unfinished items in the plan's order, created on demand."""
    offset = 0
    for name, part in plan.items.parts():
        here = slice(offset, offset + len(part))
        offset += len(part)
        left = (~completed.done[here]).nonzero()[0]
        may_exist, damaged = completed.may_exist[here], completed.damaged[here]
        for begin in range(0, len(left), _SLICE):
            places = left[begin : begin + _SLICE]
            items = work_items(part.take(pa.array(places)), plan.items.styles)
            for place, item in zip(places, items, strict=True):
                overwrite = bool(damaged[place])
                recover = bool(may_exist[place]) and not overwrite
                yield Assignment(item, recover=recover, overwrite=overwrite, part=name)


def _refused(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Return the galleries whose learnt style is too far behind for a strict run, and why."""
    if plan.spec.student_check != "strict":
        return ()
    found = read_comparisons(plan.files)
    return tuple((one.gallery_id, one.warning()) for one in found if one.shortcomings)


def actor_setup(plan: Plan, threads: int) -> ActorSetup:
    """Return the settings of a plan's actors.

    Args:
        plan: The plan.
        threads: CPU threads of each actor.
    """
    spec = plan.spec
    device = device_class(spec)
    return ActorSetup(
        engine=spec.engine.model_copy(update={"device": device}),
        params=spec.params,
        output=plan.files.output,
        run_id=plan.run_id,
        engine_fingerprint=plan.engine_fingerprint,
        threads=threads,
        batch=spec.pool.batch or _BATCH.get(device, 1),
        overlap=device == "cuda" or threads == 1,
        learning_base=plan.learning_base,
    )
