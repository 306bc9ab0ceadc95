"""Learn the styles of a run before its items: one Ray task for each adapter not in `prepared/`."""

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from schemas.text import one_line
from stylegallery.errors import InputError
from tasks.errors import LearningError, StorageError
from tasks.execution.engine_context import shared_context
from tasks.execution.execute import actor_setup
from tasks.execution.progress import OnProgress, Phase, Progress
from tasks.execution.student_check import check_students, galleries_to_check
from tasks.messages import ActorSetup
from tasks.planning import Plan
from tasks.planning.learning import AdapterSource
from tasks.records.learnt_files import LearningFailure, write_failure
from tasks.storage.redaction import redact

if TYPE_CHECKING:
    from tasks.cluster.session import Layout

logger = logging.getLogger(__name__)


def learn(plan: Plan, on_progress: OnProgress = lambda _: None) -> None:
    """Learn the styles that the items left to do need. A repeated call learns the missing ones.

    A style that cannot be learnt ends no run: the items of its gallery end as rows. If the run
    asks for it, learnt styles are then compared with the method that learns nothing.

    Args:
        plan: From :func:`tasks.planning.make_plan`.
        on_progress: Called after each style, in this thread.

    Raises:
        PoolError: Ray cannot be reached.
        StorageError: the output cannot be written.
    """
    total, photos = len(plan.to_learn), galleries_to_check(plan)
    if not total and not photos:
        return
    from tasks.cluster.session import connected  # imports Ray, which planning does not need

    on_progress(Progress(done=0, total=0, phase="starting Ray"))
    with connected(plan.spec.pool) as layout:
        setup = actor_setup(plan, layout.threads)
        if total:
            on_progress(Progress(done=0, total=total, phase="learning"))
        for done, _ in enumerate(learn_adapters(plan.to_learn, setup, layout), 1):
            on_progress(Progress(done=done, total=total, phase="learning"))

        def on_checked(done: int) -> None:
            phase: Phase = "comparing learnt styles"
            on_progress(Progress(done=done, total=len(photos), phase=phase))

        if photos:
            on_checked(0)
            check_students(plan, photos, setup, layout, on_checked)


def learn_adapters(
    sources: Sequence[AdapterSource], setup: ActorSetup, layout: "Layout"
) -> Iterator[tuple[AdapterSource, str]]:
    """Learn adapters in Ray tasks, and log each.

    Args:
        sources: What each adapter is learnt from.
        setup: The engine and the output.
        layout: Layout of the connected cluster.

    Yields:
        Each source as it ends, and why it was not learnt, or an empty string.

    Raises:
        StorageError: the output cannot be written.
    """
    from tasks.cluster.parallel import map_unordered

    tasks = [(source, setup) for source in sources]
    outcomes = map_unordered(_learn, tasks, layout, engines=True)
    for done, (number, outcome) in enumerate(outcomes, 1):
        source = sources[number]
        if isinstance(outcome, Exception):
            failure = LearningFailure.of(outcome, setup.run_id)
            if not isinstance(outcome, StorageError):  # of a store, each item tries again
                write_failure(setup.output, source.key, failure)
            outcome = failure.reason
        if outcome:
            logger.warning("style %d of %d, %s: %s", done, len(sources), source.name, outcome)
        else:
            logger.info("style %d of %d, %s: learnt", done, len(sources), source.name)
        yield source, outcome


def _learn(task: tuple[AdapterSource, ActorSetup]) -> str:
    """Learn one adapter; return why it cannot be learnt, or an empty string."""
    from tasks.items.adapters import learn_adapter  # imports torch

    source, setup = task
    try:
        learn_adapter(shared_context(setup), source)
    except (InputError, LearningError) as error:
        return one_line(redact(str(error)))
    return ""
