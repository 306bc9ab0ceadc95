"""The doing of a plan: what is not done yet goes through the pool, row by row into the ledger."""

from collections import Counter
from typing import TYPE_CHECKING

from schemas.result import ItemResult
from tasks.keys import ItemKey, key_of
from tasks.lease import ActorSetup, Assignment
from tasks.ledger import Ledger, read_ledger
from tasks.planning import Plan
from tasks.progress import OnProgress, Progress
from tasks.versions import device_class

if TYPE_CHECKING:
    from tasks.actor import StyleActor

_BATCH = {"cuda": 8}
"""Items that share UNet calls, where nobody says; a CPU is as fast with one after the other."""


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
    since = _done_since(plan)
    done = {**since, **plan.done}
    counts = Counter(row.status for row in done.values())
    progress = Progress(
        done=len(done),
        total=len(plan.items),
        ok=counts["ok"],
        rejected=counts["rejected"],
        failed=counts["failed"],
    )
    if len(done) == len(plan.items):
        on_progress(progress)
        return
    todo = (
        Assignment(item, adopt=bool(since) or item.asset_key in plan.standing)
        for item in plan.items
        if key_of(item) not in done
    )
    from tasks.actor import StyleActor
    from tasks.cluster import connected  # Ray, which planning does without
    from tasks.pool import Pool

    ledger = Ledger(plan.spec.output, plan.run_id)
    with connected(plan.spec.pool) as layout:
        setup = _setup(plan, layout.threads)
        kind = actor or StyleActor
        pool = Pool(plan.spec.pool, layout, setup, ledger, progress, on_progress, kind)
        pool.run(todo, len(plan.items) - len(done))


def _done_since(plan: Plan) -> dict[ItemKey, ItemResult]:
    """Return the rows of items that were done after the plan was made, by an attempt cut short.

    Older rows were looked at by the planner; it left out those whose assets are gone.
    """
    return {
        key: row
        for key, row in read_ledger(plan.spec.output, plan.run_id).items()
        if row.status != "failed" and row.finished_at and row.finished_at >= plan.made_at
    }


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
        overlap=device == "cuda",
    )
