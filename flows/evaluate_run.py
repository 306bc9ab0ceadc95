"""The flow `evaluate-run`: measure the results of a finished run and rebuild its report."""

from prefect import flow

from flows.run_names import named_by
from schemas.evaluation import EvaluationSummary, ExternalWeights
from schemas.flows import EvaluateSpec
from schemas.run import PoolSpec
from tasks.evaluation import evaluate
from tasks.report import build


@flow(
    name="evaluate-run",
    flow_run_name=named_by(EvaluateSpec, lambda spec: f"evaluate {spec.run_id}"),
    persist_result=False,
)
def evaluate_run(spec: EvaluateSpec) -> EvaluationSummary:
    """Measure how much of the photo each result keeps and how close it is to its references.

    Args:
        spec: The run, its quality gates and optional metric weights.
    """
    pool = PoolSpec(ray_address=spec.ray_address)
    weights = ExternalWeights(**spec.model_dump(include=set(ExternalWeights.model_fields)))
    summary = evaluate.evaluate(spec.output, spec.run_id, spec.gates, pool, weights)
    build.build_report(spec.output, spec.run_id)
    return summary
