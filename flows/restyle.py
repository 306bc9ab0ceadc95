"""The flow `restyle-catalog`: every product photo, in the style of every gallery asked for."""

from prefect import flow, runtime
from prefect.states import Completed

from flows import artifacts
from flows.progress import ProgressArtifact
from flows.runtime.outcome import Ended, complete, reported
from schemas.run import RestyleSpec
from tasks import storage
from tasks.execution.progress import listening
from tasks.report.cards import headline
from tasks.steps import (
    build_report,
    close_run,
    evaluate_results,
    execute_plan,
    make_plan,
    open_run,
    recorded_run,
    write_results,
)


class TooManyFailuresError(Exception):
    """More items came to nothing than the run allows; what is done stands.

    Attributes:
        ended: How the run ended.
    """

    def __init__(self, ended: Ended, allowed: float) -> None:
        super().__init__(f"{headline(ended.summary)}; at most {allowed:.0%} may come to nothing")
        self.ended = ended


def _name() -> str:
    """Name a flow run after what it restyles, for the list in the Prefect UI."""
    spec = RestyleSpec.model_validate(runtime.flow_run.parameters["spec"])
    catalog = storage.stem(spec.catalog)
    galleries = spec.gallery_ids or [storage.stem(uri) for uri in spec.galleries]
    return f"{catalog} in {', '.join(galleries)}"


@flow(name="restyle-catalog", flow_run_name=_name, persist_result=False)
def restyle_catalog(spec: RestyleSpec) -> Ended:
    """Restyle a product catalog in the style of reference galleries.

    The same parameters on the same inputs go on where an earlier run stopped, and do nothing
    when all is done.

    Args:
        spec: What to restyle, how, and on which machines.
    """
    with reported(), listening(ProgressArtifact()):
        job = make_plan(spec)
        summary, report = job.plan.summary, job.plan.files.report
        if summary is None:
            with recorded_run(job):
                open_run(job)
                execute_plan(job)
                summary = write_results(job)
                if spec.needs_evaluation:
                    summary = evaluate_results(job, summary)
                report = build_report(job)
                close_run(job, summary)
        ended = Ended(job.plan.run_id, summary, report)
        complete(ended)
    artifacts.publish(job.plan, summary, report)
    lost = summary.rejected + summary.failed
    if lost > spec.max_failed_fraction * summary.items:
        raise TooManyFailuresError(ended, spec.max_failed_fraction)
    name = "Completed with failures" if lost else "Completed"
    # Prefect hands the data of a returned state to the caller.
    return Completed(name=name, message=headline(summary), data=ended)  # type: ignore[return-value]
