"""The flow `evaluate-run`: figures for a run that is over, and its report built again."""

from prefect import flow, runtime

from schemas.evaluation import EvaluationSummary, ExternalWeights
from schemas.flows import EvaluateSpec
from schemas.run import PoolSpec
from tasks.evaluation import evaluate
from tasks.report import build


def _name() -> str:
    spec = EvaluateSpec.model_validate(runtime.flow_run.parameters["spec"])
    return f"figures of {spec.run_id}"


@flow(name="evaluate-run", flow_run_name=_name, persist_result=False)
def evaluate_run(spec: EvaluateSpec) -> EvaluationSummary:
    """Measure the results of a finished run: how much they keep, how close they are in style.

    Args:
        spec: Which run, and what its results are to keep.
    """
    pool = PoolSpec(ray_address=spec.ray_address)
    nets = ExternalWeights(**spec.model_dump(include=set(ExternalWeights.model_fields)))
    found = evaluate.evaluate(spec.output, spec.run_id, spec.gates, pool, nets)
    build.build_report(spec.output, spec.run_id)
    return found
