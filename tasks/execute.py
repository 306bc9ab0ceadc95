"""The doing of a plan: what is not done yet goes through the pool, row by row into the ledger."""

from collections import Counter
from typing import TYPE_CHECKING

from tasks.keys import key_of
from tasks.lease import ActorSetup, Assignment
from tasks.ledger import Ledger
from tasks.planning import Plan
from tasks.progress import OnProgress, Progress
from tasks.versions import device_class

if TYPE_CHECKING:
    from tasks.actor import StyleActor


def execute(
    plan: Plan,
    on_progress: OnProgress = lambda _: None,
    actor: "type[StyleActor] | None" = None,
) -> None:
    """Do what a plan has left to do. Doing it again resumes.

    Args:
        plan: From :func:`tasks.planning.plan`, made anew after an interruption.
        on_progress: Called in this thread, often; must be quick.
        actor: What to run instead of :class:`tasks.actor.StyleActor`.

    Raises:
        PoolError: no engine can be started, or all of them keep dying.
        StorageError: the ledger cannot be written.
    """
    counts = Counter(row.status for row in plan.done.values())
    progress = Progress(
        done=plan.counts.done,
        total=plan.counts.items,
        ok=counts["ok"],
        rejected=counts["rejected"],
        failed=counts["failed"],
    )
    if not plan.counts.todo:
        on_progress(progress)
        return
    from tasks.actor import StyleActor
    from tasks.cluster import connected  # Ray, which planning does without
    from tasks.pool import Pool

    todo = [
        Assignment(item, adopt=item.asset_key in plan.standing)
        for item in plan.items
        if key_of(item) not in plan.done
    ]
    ledger = Ledger(plan.spec.output, plan.run_id)
    with connected(plan.spec.pool) as layout:
        setup = _setup(plan, layout.threads)
        kind = actor or StyleActor
        Pool(plan.spec.pool, layout, setup, ledger, progress, on_progress, kind).run(todo)


def _setup(plan: Plan, threads: int) -> ActorSetup:
    spec = plan.spec
    return ActorSetup(
        engine=spec.engine.model_copy(update={"device": device_class(spec)}),
        params=spec.params,
        output=spec.output,
        run_id=plan.run_id,
        engine_fingerprint=plan.engine_fingerprint,
        threads=threads,
    )
