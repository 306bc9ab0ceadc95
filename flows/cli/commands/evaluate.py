"""`stylegallery evaluate`: measure the results of a finished run."""

from typing import Annotated

from cyclopts import Parameter

from flows.cli.commands.inspect import Output, Run
from flows.cli.console import print_stderr, progress_bar
from flows.cli.flags import field_help
from flows.runtime.errors import UsageError
from schemas.evaluation import BETTER, EvaluationSummary, ExternalWeights, Gate
from schemas.run import PoolSpec
from schemas.text import counted
from tasks.records.newest_run import LATEST_RUN, find_run


def evaluate(
    output: Output,
    /,
    *,
    run: Run = LATEST_RUN,
    gates: Annotated[
        list[str] | None,
        Parameter(
            name="--gate",
            negative_iterable=(),
            help="Flag results that miss this quality gate, such as `ssim >= 0.5`; repeatable. "
            "`stylegallery schema figures` lists the metrics.",
        ),
    ] = None,
    lpips: Annotated[str, Parameter(help=field_help(ExternalWeights, "lpips"))] = "",
    csd: Annotated[str, Parameter(help=field_help(ExternalWeights, "csd"))] = "",
    cfsd: Annotated[str, Parameter(help=field_help(ExternalWeights, "cfsd"))] = "",
    inception: Annotated[str, Parameter(help=field_help(ExternalWeights, "inception"))] = "",
    ray_address: Annotated[
        str, Parameter(help=field_help(PoolSpec, "ray_address"), show_default=False)
    ] = "local",
) -> None:
    """Measure how much of the photo each result keeps and how close it is to its references.

    Writes the metrics to evaluation/ of the run and rebuilds its report. The same command measures
    only what has changed.
    """
    from tasks.evaluation.evaluate import evaluate as measure
    from tasks.report.build import build_report

    run = find_run(output, run)
    with progress_bar("measuring") as advance:
        try:
            pool = PoolSpec(ray_address=ray_address)
            weights = ExternalWeights(lpips=lpips, csd=csd, cfsd=cfsd, inception=inception)
            found = measure(output, run, gates or (), pool, weights, advance)
        except ValueError as error:
            raise UsageError(f"--gate: {error}") from error
    print(build_report(output, run))
    _print_summary(found)


def _print_summary(found: EvaluationSummary) -> None:
    print_stderr(
        f"{found.measured} of {counted(found.items, 'result')} measured, {found.flagged} flagged"
    )
    if found.unmeasured:
        print_stderr(
            f"{found.unmeasured} could not be measured; evaluation/ has the reason in each row"
        )
    print_stderr("  mean with its 95 % confidence interval; ↑ higher is better, ↓ lower is better")
    for name, span in found.figures.items():
        print_stderr(
            f"{BETTER[name]} {name:26s} {span.value:7.3f}  ({span.low:.3f} to {span.high:.3f})"
        )
    for name, gallery in found.galleries.items():
        for figure in ("frechet_lite0", "fid_art"):
            if span := getattr(gallery, figure):
                value = f"{span.value:7.2f}  ({span.low:.2f} to {span.high:.2f})"
                print_stderr(f"↓ {figure:26s} {value}  {name}")
    for gate in found.gates:
        print_stderr(f"  gate {gate}: {_gate_result(gate, found)}")


def _gate_result(text: str, found: EvaluationSummary) -> str:
    """Return how many results miss a gate, of how many it was measured on."""
    metric = Gate.parse(text).metric
    measured = found.figures[metric].count if metric in found.figures else 0
    if not measured:
        return f"not measured: no result has the metric {metric}"
    without = found.items - measured
    missed = f"missed by {found.missed.get(text, 0)} of {counted(measured, 'result')}"
    return missed + (f", {without} not measured" if without else "")
