"""`stylegallery status`, `verify` and `report`: look at a run by what it left in the output."""

from collections import Counter
from typing import Annotated

from cyclopts import Parameter

from flows.console import say
from flows.usage import EXIT_OK, EXIT_SOME_FAILED
from stylegallery.wording import counted
from tasks.newest_run import LATEST_RUN, find_run

Output = Annotated[str, Parameter(help="Output folder or S3 prefix of the run.")]
Run = Annotated[
    str,
    Parameter(
        name="--run",
        help="Run id, a folder name below OUTPUT/runs; `latest` is the newest run.",
    ),
]


def status(output: Output, /, *, run: Run = LATEST_RUN) -> None:
    """Say how far a run is; rows reach the output every few seconds."""
    import numpy as np

    from tasks import storage
    from tasks.catalog_table import read_finished
    from tasks.ledger import read_ledger
    from tasks.plan_items import has_problem, read_parts
    from tasks.row_index import STATUSES, hashes
    from tasks.run_files import RunFiles
    from tasks.run_record import read_record

    run = find_run(output, run)
    files = RunFiles(storage.absolute(output), run)
    record = read_record(files)
    finished, own = read_finished(output), read_ledger(output, run)
    counts: Counter[str] = Counter()
    for _, part in read_parts(files):
        if has_problem(part):
            counts["rejected"] += len(part)
            continue
        keys = hashes(part)
        mine, theirs = own.found(keys), finished.found(keys)
        counts.update(STATUSES[status] for status in np.where(mine > 0, mine, theirs).tolist())
    unended = counts.pop(STATUSES[0], 0)
    ended = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none yet"
    items = counts.total() + unended
    print(f"{run}: {record.state}, {counts.total()} of {items} items ended ({ended})")
    if record.message:
        print(record.message)


def report(output: Output, /, *, run: Run = LATEST_RUN) -> None:
    """Build a run's report again, and print where it is."""
    from tasks.report import build_report

    print(build_report(output, find_run(output, run)))


def verify(output: Output, /, *, run: Run = LATEST_RUN) -> int:
    """Prove that plan, rows and assets agree: nothing missing, nothing twice, hashes right."""
    from tasks.verify import verify as check

    run = find_run(output, run)
    found = check(output, run)
    for problem in found.problems:
        print(problem)
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    verdict = "all in order" if found.ok else counted(len(found.problems), "problem")
    say(f"{run}: {verdict} ({counts})")
    return EXIT_OK if found.ok else EXIT_SOME_FAILED


def explain(
    output: Output,
    /,
    *,
    run: Run = LATEST_RUN,
    product: Annotated[str, Parameter(help="Id of the product.")],
    view: Annotated[str, Parameter(help="Which photo of it.")] = "main",
    gallery: Annotated[str, Parameter(help="One gallery alone; all without it.")] = "",
    out: Annotated[str, Parameter(help="Folder to write to.")],
) -> None:
    """Write what a product's results were made of: which region took its style from where.

    For each gallery a folder with `matches.png`, the region maps, and `routing.json`: change the
    reference or region of an entry there, name the file as `routing_uri` in the catalog, and run
    again.
    """
    from tasks import storage
    from tasks.explain import explain as explained

    root = storage.absolute(out)
    for one in explained(output, find_run(output, run), product, view, gallery):
        for name, data in one.files.items():
            storage.write_bytes(storage.join(root, one.folder, name), data)
        print(storage.join(root, one.folder))
