"""`stylegallery plan` and `run`: a whole catalog, through the flow `restyle-catalog`."""

from typing import Annotated

from cyclopts import Parameter

from flows.console import duration, run_progress, say, size
from flows.flags import RunFlags
from flows.settings import resolve
from flows.usage import EXIT_OK, EXIT_SOME_FAILED
from schemas.run import RestyleSpec

_DEFAULTS = RunFlags()
Verbose = Annotated[
    bool, Parameter(negative=(), show_default=False, help="Show Prefect's own messages too.")
]


def plan(*, flags: RunFlags = _DEFAULTS) -> None:
    """Check the manifests, count the items and estimate the work; changes nothing."""
    _show_plan(resolve(*flags.layers()))


def run(
    *,
    flags: RunFlags = _DEFAULTS,
    dry_run: Annotated[
        bool,
        Parameter(
            negative=(), show_default=False, help="Only say what would be done, like `plan`."
        ),
    ] = False,
    verbose: Verbose = False,
) -> int:
    """Restyle every photo of the catalog in every gallery asked for.

    The same command again goes on where it stopped, and does nothing when all is done.
    """
    spec = resolve(*flags.layers())
    if dry_run:
        _show_plan(spec)
        return EXIT_OK
    return restyle(spec, verbose=verbose)


def restyle(spec: RestyleSpec, *, verbose: bool) -> int:
    """Run the flow here, show its progress, and say how it ended."""
    from flows.quiet import quiet_prefect

    quiet_prefect(verbose=verbose)
    from flows.restyle import TooManyFailuresError, restyle_catalog
    from tasks.report_view import headline

    with run_progress():
        try:
            ended = restyle_catalog(spec)
        except TooManyFailuresError as error:
            ended = error.ended
    print(ended.report)
    say(headline(ended.summary))
    for warning in ended.summary.warnings:
        say(f"warning: {warning}")
    if ended.summary.failed:
        say("run the same command again for those that failed; the report says why")
    troubled = ended.summary.rejected + ended.summary.failed
    return EXIT_SOME_FAILED if troubled else EXIT_OK


def _show_plan(spec: RestyleSpec) -> None:
    from tasks import planning

    plan = planning.plan(spec)
    counts, cost = plan.counts, plan.estimate
    say(f"run {plan.run_id}")
    say(
        f"  {counts.products} photos, {counts.galleries} galleries, {counts.styles} references: "
        f"{counts.items} items"
    )
    say(f"  {counts.done} done, {counts.todo} to do")
    if counts.todo:
        base = "by earlier items here" if cost.measured else "a rule of thumb"
        say(f"  about {duration(cost.seconds)} and {size(cost.bytes)} ({base})")
