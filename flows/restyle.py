"""The flow `restyle-catalog`: restyle each product photo in the style of each gallery."""

from prefect import flow
from prefect.states import Completed

from flows import artifacts
from flows.progress import ProgressArtifact
from flows.run_names import gallery_names, named_by
from flows.runtime.outcome import RunOutcome, notify_completed, notify_start_and_error
from schemas.run import RestyleSpec
from tasks import storage
from tasks.execution.progress import listening
from tasks.steps import (
    build_report,
    close_run,
    evaluate_results,
    execute_plan,
    learn_styles,
    make_plan,
    open_run,
    recorded_run,
    write_results,
)


class TooManyFailuresError(Exception):
    """More items were rejected or failed than the run allows; finished assets are kept.

    Attributes:
        outcome: The outcome of the run.
    """

    def __init__(self, outcome: RunOutcome, allowed: float) -> None:
        text = f"{outcome.summary.headline()}; at most {allowed:.0%} may be rejected or fail"
        super().__init__(text)
        self.outcome = outcome


def run_name(spec: RestyleSpec) -> str:
    """Return the name of a flow run: its catalog and galleries."""
    return f"{storage.stem(spec.catalog)} in {gallery_names(spec)}"


@flow(
    name="restyle-catalog",
    flow_run_name=named_by(RestyleSpec, run_name),
    persist_result=False,
)
def restyle_catalog(spec: RestyleSpec) -> RunOutcome:
    """Restyle a product catalog in the style of reference galleries.

    The same parameters on the same inputs resume an interrupted run; a finished run is not
    computed again.

    Args:
        spec: What to restyle, how, and on which machines.
    """
    with notify_start_and_error(), listening(ProgressArtifact()):
        job = make_plan(spec)
        summary, report = job.plan.summary, job.plan.files.report.uri
        if summary is None:
            with recorded_run(job):
                open_run(job)
                if job.plan.to_learn or spec.checks_students:
                    learn_styles(job)
                execute_plan(job)
                summary = write_results(job)
                if spec.needs_evaluation:
                    summary = evaluate_results(job, summary)
                report = build_report(job)
                close_run(job, summary)
        outcome = RunOutcome(job.plan.run_id, summary, report)
        notify_completed(outcome)
    artifacts.publish(job.plan, summary, report)
    without_asset = summary.rejected + summary.failed
    if without_asset > spec.max_failed_fraction * summary.items:
        raise TooManyFailuresError(outcome, spec.max_failed_fraction)
    state = "Completed with failures" if without_asset else "Completed"
    # Prefect unwraps the returned state: the caller gets its data.
    return Completed(name=state, message=summary.headline(), data=outcome)  # type: ignore[return-value]
