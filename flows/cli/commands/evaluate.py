"""`stylegallery evaluate`: figures for a run that is over."""

from typing import Annotated

from cyclopts import Parameter

from flows.cli.commands.inspect import Output, Run
from flows.cli.console import bar, say
from flows.cli.flags import field_help
from flows.runtime.errors import UsageError
from schemas.evaluation import BETTER, EvaluationSummary, ExternalWeights, Gate
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
            help="Flag results outside of it, such as `ssim >= 0.5`; repeatable. "
            "`stylegallery schema figures` names the figures.",
        ),
    ] = None,
    lpips: Annotated[str, Parameter(help=field_help(ExternalWeights, "lpips"))] = "",
    csd: Annotated[str, Parameter(help=field_help(ExternalWeights, "csd"))] = "",
    inception: Annotated[str, Parameter(help=field_help(ExternalWeights, "inception"))] = "",
    ray_address: Annotated[
        str, Parameter(help="`local` starts Ray here; `auto` or host:port joins a cluster.")
    ] = "local",
) -> None:
    """Measure how much of its photo each result keeps and how close it is to its references.

    The figures go beside the results, into evaluation/, and into the report, which is built again.
    The same command again measures only what has changed.
    """
    from schemas.run import PoolSpec
    from tasks.evaluation.evaluate import evaluate as measure
    from tasks.report.build import build_report

    run = find_run(output, run)
    with bar("measuring") as tell:
        try:
            pool = PoolSpec(ray_address=ray_address)
            nets = ExternalWeights(lpips=lpips, csd=csd, inception=inception)
            found = measure(output, run, gates or (), pool, nets, tell)
        except ValueError as error:
            raise UsageError(f"--gate: {error}") from error
    print(build_report(output, run))
    _say(found)


def _say(found: EvaluationSummary) -> None:
    say(f"{found.measured} of {counted(found.items, 'result')} measured, {found.flagged} flagged")
    if found.unmeasured:
        say(f"{found.unmeasured} could not be compared; evaluation/ says why, row by row")
    say("  mean with its 95 % confidence interval; ↑ higher is better, ↓ lower is better")
    for name, span in found.figures.items():
        say(f"{BETTER[name]} {name:26s} {span.value:7.3f}  ({span.low:.3f} to {span.high:.3f})")
    for name, gallery in found.galleries.items():
        for figure in ("frechet_lite0", "fid_art"):
            if span := getattr(gallery, figure):
                value = f"{span.value:7.2f}  ({span.low:.2f} to {span.high:.2f})"
                say(f"↓ {figure:26s} {value}  {name}")
    for gate in found.gates:
        say(f"  gate {gate}: {_gate_result(gate, found)}")


def _gate_result(text: str, found: EvaluationSummary) -> str:
    """Say on how many results a gate was measured, and how many of them miss it."""
    figure = Gate.parse(text).metric
    measured = found.figures[figure].count if figure in found.figures else 0
    if not measured:
        return f"not measured: no result has the figure {figure}"
    without = found.items - measured
    missed = f"missed by {found.missed.get(text, 0)} of {counted(measured, 'result')}"
    return missed + (f", {without} not measured" if without else "")
