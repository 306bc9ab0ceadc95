"""The steps of a run as Prefect tasks: one task per stage, never one per item.

:mod:`tasks.execution.pool` retries single items and keeps the ledger. Prefect retries a stage that
failed as a whole; every stage resumes from the files that are already written. Prefect caches and
persists nothing: the output folder is the only state.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from schemas.run import RestyleSpec, RunSummary
from tasks import planning
from tasks.cluster.signals import deferred
from tasks.errors import FileMissing, StorageError, TaskError
from tasks.evaluation import evaluate
from tasks.execution import execute, learn
from tasks.execution.progress import OnProgress, Progress, announce, announce_phase
from tasks.logs import log_context
from tasks.records.lock import RunLock, RunLostError, hold_run
from tasks.report import build
from tasks.results import finalize

logger = logging.getLogger(__name__)


class RunContext:
    """The plan and the lock of a run, passed from task to task.

    Not a dataclass: Prefect would search the fields of one for futures, item by item.
    """

    def __init__(self, plan: planning.Plan) -> None:
        self.plan = plan
        self.lock: RunLock | None = None

    def check(self) -> None:
        """Raise RunLostError if the last heartbeat saw another driver take the run."""
        if self.lock is not None:
            self.lock.check()

    def verify(self) -> None:
        """Read the lock, then do the same; called before files of the whole run are written."""
        if self.lock is not None:
            self.lock.verify()


def is_transient_failure(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether a stage failed with a transient error, such as an unavailable store."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StorageError) and error.transient


_STAGE: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [10, 60],
    "retry_condition_fn": is_transient_failure,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}


@task(name="plan", **_STAGE)
def make_plan(spec: RestyleSpec) -> RunContext:
    """Read the manifests, list all items and find the finished ones."""
    announce_phase("planning")
    return RunContext(planning.make_plan(spec))


@task(name="open", **_STAGE)
def open_run(run: RunContext) -> None:
    """Write the plan and run.json."""
    planning.write_plan(run.plan, run.lock.conditional_writes if run.lock else None)


@task(name="learn", **_STAGE)
def learn_styles(run: RunContext) -> None:
    """Learn the styles that the method needs and that no earlier run has learnt."""
    learn.learn(run.plan, on_progress=_announcer(run))


@task(name="execute", **_STAGE)
def execute_plan(run: RunContext) -> None:
    """Restyle the unfinished items on a pool of Ray actors."""
    execute.execute(run.plan, on_progress=_announcer(run))


def _announcer(run: RunContext) -> OnProgress:
    """Return a listener that checks the run's lock, then tells all other listeners."""

    def on_progress(now: Progress) -> None:
        run.check()
        announce(now)

    return on_progress


@task(name="results", **_STAGE)
def write_results(run: RunContext) -> RunSummary:
    """Write one result per item, and the tables derived from them."""
    run.verify()
    announce_phase("writing the results")
    return finalize.write_results(run.plan)


@task(name="evaluate", **_STAGE)
def evaluate_results(run: RunContext, summary: RunSummary) -> RunSummary:
    """Evaluate the results and count the items that miss a quality gate."""
    run.verify()
    announce_phase("measuring")
    spec = run.plan.spec
    evaluation = evaluate.evaluate(spec.output, run.plan.run_id, spec.gates, spec.pool)
    return summary.model_copy(update={"flagged": evaluation.flagged})


@task(name="report", **_STAGE)
def build_report(run: RunContext) -> str:
    """Write the HTML report."""
    run.verify()
    announce_phase("building the report")
    return build.build_report(run.plan.spec.output, run.plan.run_id)


@task(name="finalize", **_STAGE)
def close_run(run: RunContext, summary: RunSummary) -> None:
    """Close run.json, then write `_SUCCESS`."""
    run.verify()
    finalize.finalize(run.plan.spec, run.plan.run_id, run.plan, summary)


@contextmanager
def recorded_run(run: RunContext) -> Iterator[None]:
    """Hold the run's lock; if the block fails or is cancelled, record that in run.json.

    Raises:
        RunBusyError: another driver holds the run; nothing is written.
    """
    with log_context(run_id=run.plan.run_id), hold_run(run.plan.files) as run.lock:
        try:
            yield
        except RunLostError:
            raise  # run.json belongs to another driver now
        except Exception as error:
            run.verify()  # a lost lock is the more important error
            _close(run, "crashed", str(error))
            raise
        except BaseException:  # Ctrl-C, SIGTERM, or cancelled in the Prefect UI
            _close(run, "cancelled", "stopped from outside")
            raise


def _close(run: RunContext, state: Literal["cancelled", "crashed"], message: str) -> None:
    """Record in run.json how the run ended; errors of that are logged only."""
    try:
        with deferred():
            run.verify()
            finalize.close_record(run.plan, state, message=message)
    except (FileMissing, RunLostError):
        pass  # nothing was written yet, or run.json belongs to another driver
    except TaskError as error:  # the caller raises the error that ended the run
        logger.warning("run.json still says `running`: %s", error)
