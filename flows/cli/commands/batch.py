"""`stylegallery plan` and `run`: restyle a whole catalog with the flow `restyle-catalog`."""

import shlex
from typing import Annotated

from cyclopts import Parameter
from rich.filesize import decimal

from flows.cli.console import format_duration, print_stderr, show_run_progress
from flows.cli.flags import RunFlags
from flows.cli.settings import resolve
from flows.runtime.errors import EXIT_OK, EXIT_SOME_FAILED
from schemas.run import RestyleSpec
from schemas.text import counted

_DEFAULTS = RunFlags()
_MOST_NAMED = 5
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
            negative=(),
            show_default=False,
            help="Only check, count and estimate, as `plan` does.",
        ),
    ] = False,
    verbose: Verbose = False,
) -> int:
    """Restyle every photo of a catalog in every gallery.

    The same command resumes an interrupted run, and computes nothing if all items are finished.
    """
    spec = resolve(*flags.layers())
    if dry_run:
        _show_plan(spec)
        return EXIT_OK
    return restyle(spec, verbose=verbose)


def restyle(spec: RestyleSpec, *, verbose: bool) -> int:
    """Run the flow in this process, show its progress and print its outcome.

    Returns:
        The exit code.
    """
    from flows.runtime import prefect_api
    from tasks import planning
    from tasks.storage import scratch

    # Prefect and Ray take seconds to start, so invalid input is reported before.
    planning.check_inputs(spec)
    scratch.temporary_folder()
    if spec.pool.ray_address == "local":
        scratch.ray_folder()
    prefect_api.connect(verbose=verbose)
    from flows.cli.foreground import restyle_in_foreground

    with show_run_progress():
        outcome = restyle_in_foreground(spec)
    print(outcome.report)
    print_stderr(f"{outcome.run_id}: {outcome.summary.headline()}")
    for warning in outcome.summary.warnings:
        print_stderr(f"warning: {warning}")
    if outcome.summary.failed:
        print_stderr(
            "run the same command again to retry the failed items; the report says why they failed"
        )
    where = f"{shlex.quote(spec.output)} --run {outcome.run_id}"
    print_stderr(f"next: stylegallery verify {where}")
    if not spec.needs_evaluation:
        print_stderr(f"      stylegallery evaluate {where}")
    failed_or_rejected = outcome.summary.rejected + outcome.summary.failed
    return EXIT_SOME_FAILED if failed_or_rejected else EXIT_OK


def _show_plan(spec: RestyleSpec) -> None:
    from tasks import planning

    plan = planning.make_plan(spec)
    counts, cost = plan.counts, plan.estimate
    print_stderr(f"run {plan.run_id}")
    print_stderr(
        f"  {counted(counts.products, 'photo')}, {counted(counts.galleries, 'gallery')}, "
        f"{counted(counts.styles, 'reference')}: {counted(counts.items, 'item')}"
    )
    for settings, names in plan.items.own_settings().items():
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        print_stderr(f"  {settings}: {', '.join(names[:_MOST_NAMED])}{more}")
    rejected = f", {counts.rejected} rejected" if counts.rejected else ""
    print_stderr(f"  {counts.done} done, {counts.todo} to do{rejected}")
    if counts.to_learn:
        print_stderr(f"  {counted(counts.to_learn, 'style')} to learn first")
    for problem in plan.items.problems:
        print_stderr(f"  {problem}")
    if counts.todo:
        base = "measured on earlier items" if cost.measured else "a rough estimate"
        time, space = format_duration(cost.seconds), decimal(round(cost.bytes), precision=0)
        print_stderr(f"  about {time} and {space} ({base})")
