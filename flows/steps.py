"""The steps of a run as Prefect tasks: one task for a whole stage, never one for an item.

Item by item, the pool in :mod:`tasks` retries, blames and keeps the ledger. What Prefect retries
here is a stage that was lost as a whole, and since every stage resumes from what is already
written, a retry means: go on. Prefect caches and persists nothing: the output is the truth.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from flows.progress import Announcer, announce_phase
from schemas.run import RestyleSpec, RunSummary
from tasks import evaluate, execute, finalize, planning, report
from tasks.errors import FileMissing, StorageError, TaskError
from tasks.logs import about
from tasks.progress import Progress
from tasks.run_lock import RunLock, RunLostError, holding
from tasks.signals import deferred

logger = logging.getLogger(__name__)


class Job:
    """A plan on its way from task to task.

    Not a dataclass on purpose: Prefect would search it for futures, item by item.
    """

    def __init__(self, plan: planning.Plan) -> None:
        self.plan = plan
        self.lock: RunLock | None = None

    def check(self) -> None:
        """Refuse to go on with a run that another driver has taken over; quick."""
        if self.lock is not None:
            self.lock.check()

    def confirm(self) -> None:
        """Refuse the same after a look at the lock: before what is written of the whole run."""
        if self.lock is not None:
            self.lock.confirm()


def may_pass(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Tell whether a stage failed of something that may pass, such as a store that is away."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StorageError) and error.transient


_STAGE: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [10, 60],
    "retry_condition_fn": may_pass,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}


@task(name="plan", **_STAGE)
def make_plan(spec: RestyleSpec) -> Job:
    """Read the manifests, list every item, look up what is done already."""
    announce_phase("planning")
    return Job(planning.plan(spec))


@task(name="open", **_STAGE)
def open_run(job: Job) -> None:
    """Write down what is asked for."""
    planning.write_plan(job.plan, job.lock.conditional if job.lock else None)


@task(name="execute", **_STAGE)
def execute_plan(job: Job) -> None:
    """Restyle what is left to do on a pool of Ray actors."""
    tell = Announcer()

    def hear(now: Progress) -> None:
        job.check()
        tell(now)

    execute.execute(job.plan, on_progress=hear)


@task(name="results", **_STAGE)
def write_results(job: Job) -> RunSummary:
    """Write one result row for each item, and the tables made of them."""
    job.confirm()
    announce_phase("writing the results")
    return finalize.write_results(job.plan)


@task(name="evaluate", **_STAGE)
def evaluate_results(job: Job, summary: RunSummary) -> RunSummary:
    """Measure what came out, and count what is outside the gates."""
    job.confirm()
    announce_phase("measuring")
    spec = job.plan.spec
    found = evaluate.evaluate(spec.output, job.plan.run_id, spec.gates, spec.pool)
    return summary.model_copy(update={"flagged": found.flagged})


@task(name="report", **_STAGE)
def build_report(job: Job) -> str:
    """Write the page that shows what came out."""
    job.confirm()
    announce_phase("building the report")
    return report.build_report(job.plan.spec.output, job.plan.run_id)


@task(name="finalize", **_STAGE)
def close_run(job: Job, summary: RunSummary) -> None:
    """Close the run's record, and write the mark of success last."""
    job.confirm()
    finalize.finalize(job.plan.spec, job.plan.run_id, job.plan, summary)


@contextmanager
def on_record(job: Job) -> Iterator[None]:
    """Hold the run, and say in run.json how it ended when it does not get to its end.

    Raises:
        RunBusyError: another driver is at it; nothing is written then.
    """
    with about(run_id=job.plan.run_id), holding(job.plan.files) as job.lock, _said(job):
        yield


@contextmanager
def _said(job: Job) -> Iterator[None]:
    try:
        yield
    except RunLostError:
        raise  # the record is another's now
    except Exception as error:
        job.confirm()  # whoever has lost the run needs to hear of that, not of what came of it
        _close(job, "crashed", str(error))
        raise
    except BaseException:  # Ctrl-C, SIGTERM, cancelled in the Prefect UI
        _close(job, "cancelled", "stopped from outside")
        raise


def _close(job: Job, state: Literal["cancelled", "crashed"], message: str) -> None:
    try:
        with deferred():
            job.confirm()
            finalize.close_record(job.plan, state, message=message)
    except (FileMissing, RunLostError):
        pass  # it ended before anything was written, or the record is another's now
    except TaskError as error:  # what ended the run must come through
        logger.warning("run.json still says `running`: %s", error)
