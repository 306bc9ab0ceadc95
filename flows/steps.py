"""The steps of a run as Prefect tasks: one task for a whole stage, never one for an item.

Item by item, the pool in :mod:`tasks` retries, blames and keeps the ledger. What Prefect retries
here is a stage that was lost as a whole, and since every stage resumes from what is already
written, a retry means: go on. Prefect caches and persists nothing: the output is the truth.
"""

from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from flows.progress import Announcer
from schemas.run import RestyleSpec, RunSummary
from tasks import planning
from tasks.errors import StorageError


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
def make_plan(spec: RestyleSpec) -> planning.Plan:
    """Read the manifests, list every item, look up what is done already, open the run."""
    plan = planning.plan(spec)
    planning.write_plan(plan)
    return plan


@task(name="execute", **_STAGE)
def execute_plan(plan: planning.Plan) -> None:
    """Restyle what is left to do on a pool of Ray actors."""
    from tasks.execute import execute

    execute(plan, on_progress=Announcer())


@task(name="report", **_STAGE)
def build_report(plan: planning.Plan) -> str:
    """Write the page that shows what came out."""
    from tasks import report

    return report.build_report(plan.spec.output, plan.run_id)


@task(name="finalize", **_STAGE)
def close_run(plan: planning.Plan) -> RunSummary:
    """Write one result row for each item, and the mark of success last."""
    from tasks.finalize import finalize

    return finalize(plan.spec, plan.run_id, plan)
