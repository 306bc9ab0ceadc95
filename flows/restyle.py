"""The flow `restyle-catalog`: every product photo, in the style of every gallery asked for."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import artifacts
from flows.steps import build_report, close_run, execute_plan, make_plan
from schemas.run import RestyleSpec, RunSummary
from tasks.report_view import headline


@dataclass(frozen=True)
class Ended:
    """How a run ended, and where to look at it."""

    run_id: str
    summary: RunSummary
    report: str


def _name() -> str:
    """Name a flow run after what it restyles, for the list in the Prefect UI."""
    spec = RestyleSpec.model_validate(runtime.flow_run.parameters["spec"])
    catalog = PurePosixPath(spec.catalog).stem
    galleries = spec.only or [PurePosixPath(uri).stem for uri in spec.galleries]
    return f"{catalog} in {', '.join(galleries)}"


@flow(name="restyle-catalog", flow_run_name=_name, persist_result=False)
def restyle_catalog(spec: RestyleSpec) -> State[Ended]:
    """Restyle a product catalog in the style of reference galleries.

    The same parameters on the same inputs go on where an earlier run stopped, and do nothing
    when all is done.

    Args:
        spec: What to restyle, how, and on which machines.
    """
    plan = make_plan(spec)
    execute_plan(plan)
    summary = close_run(plan)
    report = build_report(plan)
    artifacts.publish(plan.spec, plan.run_id, summary, report)
    return Completed(message=headline(summary), data=Ended(plan.run_id, summary, report))
