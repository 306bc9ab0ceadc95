"""`stylegallery plan` and `run`: a whole catalog, through the flow `restyle-catalog`."""

import shlex
from typing import Annotated

from cyclopts import Parameter

from flows.cli.console import duration, run_progress, say, size
from flows.cli.flags import RunFlags
from flows.cli.settings import resolve
from flows.runtime.errors import EXIT_OK, EXIT_SOME_FAILED
from schemas.run import RestyleSpec
from schemas.text import counted

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
    from flows.runtime import prefect_api
    from tasks import planning
    from tasks.storage import scratch

    # Prefect and Ray take seconds to start: what can be told before is told before.
    planning.check_inputs(spec)
    scratch.temporary_folder()
    if spec.pool.ray_address == "local":
        scratch.ray_folder()
    prefect_api.connect(verbose=verbose)
    from flows.cli.attended import restyle_attended
    from tasks.report.cards import headline

    with run_progress():
        ended = restyle_attended(spec)
    print(ended.report)
    say(f"{ended.run_id}: {headline(ended.summary)}")
    for warning in ended.summary.warnings:
        say(f"warning: {warning}")
    if ended.summary.failed:
        say("run the same command again for those that failed; the report says why")
    where = f"{shlex.quote(spec.output)} --run {ended.run_id}"
    say(f"next: stylegallery verify {where}")
    if not spec.needs_evaluation:
        say(f"      stylegallery evaluate {where}")
    troubled = ended.summary.rejected + ended.summary.failed
    return EXIT_SOME_FAILED if troubled else EXIT_OK


def _show_plan(spec: RestyleSpec) -> None:
    from tasks import planning

    plan = planning.make_plan(spec)
    counts, cost = plan.counts, plan.estimate
    say(f"run {plan.run_id}")
    say(
        f"  {counted(counts.products, 'photo')}, {counted(counts.galleries, 'gallery')}, "
        f"{counted(counts.styles, 'reference')}: {counted(counts.items, 'item')}"
    )
    rejected = f", {counts.rejected} rejected" if counts.rejected else ""
    say(f"  {counts.done} done, {counts.todo} to do{rejected}")
    for problem in plan.items.problems:
        say(f"  {problem}")
    if counts.todo:
        base = "by earlier items here" if cost.measured else "a rule of thumb"
        say(f"  about {duration(cost.seconds)} and {size(cost.bytes)} ({base})")
