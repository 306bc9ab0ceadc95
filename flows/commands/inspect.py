"""`stylegallery status`, `verify` and `report`: look at a run by what it left in the output."""

from typing import Annotated

from cyclopts import Parameter

from flows.console import say
from flows.usage import EXIT_OK, EXIT_SOME_FAILED

Output = Annotated[str, Parameter(help="Output folder or S3 prefix of the run.")]
Run = Annotated[str, Parameter(name="--run", help="Run id: a folder name below OUTPUT/runs.")]


def report(output: Output, /, *, run: Run) -> None:
    """Build a run's report again, and print where it is."""
    from tasks.report import build_report

    print(build_report(output, run))


def verify(output: Output, /, *, run: Run) -> int:
    """Prove that plan, rows and assets agree: nothing missing, nothing twice, hashes right."""
    from tasks.verify import verify as check

    found = check(output, run)
    for problem in found.problems:
        print(problem)
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    say(f"{run}: {'all in order' if found.ok else f'{len(found.problems)} problems'} ({counts})")
    return EXIT_OK if found.ok else EXIT_SOME_FAILED
