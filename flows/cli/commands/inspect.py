"""`stylegallery status`, `verify`, `report` and `explain`: inspect the output of a run."""

from collections import Counter
from typing import Annotated

from cyclopts import Parameter

from flows.cli.console import print_stderr
from flows.runtime.errors import EXIT_OK, EXIT_SOME_FAILED
from schemas.text import counted
from tasks.records.newest_run import LATEST_RUN, find_run

Output = Annotated[str, Parameter(help="Output folder or S3 prefix of the run.")]
Run = Annotated[
    str,
    Parameter(
        name="--run",
        help="Run id: a folder name in OUTPUT/runs. `latest` is the newest run.",
    ),
]


def status(output: Output, /, *, run: Run = LATEST_RUN) -> None:
    """Print the state of a run and its items by status; items appear every few seconds."""
    import numpy as np

    from tasks.records.finished_items import read_finished
    from tasks.records.index import STATUSES, key_hashes
    from tasks.records.layout import RunFiles
    from tasks.records.ledger import read_ledger
    from tasks.records.plan_parts import has_problem, read_parts
    from tasks.records.run_record import read_record
    from tasks.storage import StoragePath

    run = find_run(output, run)
    files = RunFiles(StoragePath.parse(output), run)
    record = read_record(files)
    finished, own = read_finished(files.output), read_ledger(files)
    counts: Counter[str] = Counter()
    for _, part in read_parts(files):
        if has_problem(part):
            counts["rejected"] += len(part)
            continue
        keys = key_hashes(part)
        mine, theirs = own.statuses(keys), finished.statuses(keys)
        counts.update(STATUSES[status] for status in np.where(mine > 0, mine, theirs).tolist())
    unended = counts.pop(STATUSES[0], 0)
    ended = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none yet"
    items = counts.total() + unended
    print(f"{run}: {record.state}, {counts.total()} of {items} items ended ({ended})")
    if record.message:
        print(record.message)


def report(output: Output, /, *, run: Run = LATEST_RUN) -> None:
    """Rebuild the report of a run, and print its path."""
    from tasks.report.build import build_report

    print(build_report(output, find_run(output, run)))


def verify(output: Output, /, *, run: Run = LATEST_RUN) -> int:
    """Check a run: no item missing or duplicate, and all hashes right."""
    from tasks.results.verify import verify as check

    run = find_run(output, run)
    found = check(output, run)
    for problem in found.problems:
        print(problem)
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    verdict = "all in order" if found.ok else counted(len(found.problems), "problem")
    print_stderr(f"{run}: {verdict} ({counts})")
    return EXIT_OK if found.ok else EXIT_SOME_FAILED


def explain(
    output: Output,
    /,
    *,
    run: Run = LATEST_RUN,
    product: Annotated[str, Parameter(help="Id of the product.")],
    view: Annotated[str, Parameter(help="Which photo of the product.")] = "main",
    gallery: Annotated[str, Parameter(help="Id of one gallery. Empty means all.")] = "",
    out: Annotated[str, Parameter(help="Folder to write to.")],
) -> None:
    """Write a folder for each gallery with `matches.png`, the region maps and `routing.json`.

    To change a match, edit its reference or region in `routing.json`, name the file as
    `routing_uri` in the catalog, and run again.
    """
    from tasks.results.explain import explain as explained
    from tasks.storage import StoragePath

    root = StoragePath.parse(out)
    for one in explained(output, find_run(output, run), product, view, gallery):
        folder = root / one.folder
        for name, data in one.files.items():
            (folder / name).write_bytes(data)
        print(folder)
