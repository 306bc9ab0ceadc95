"""`_SUCCESS`: written last, and what tells that nothing is left of a plan."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from schemas.run import RestyleSpec, RunSummary
from tasks import storage, tables
from tasks.errors import FileMissing, FileTooLarge, RecordError
from tasks.plan_items import PlanItems
from tasks.run_files import RunFiles
from tasks.run_record import read_record

_MOST_BYTES = 2**20
_THREADS = 16


def write_mark(files: RunFiles, spec: RestyleSpec, items: PlanItems, summary: RunSummary) -> None:
    """Write the mark of a run whose tables and report stand.

    Raises:
        StorageError: the output cannot be read or written.
    """
    content = {
        "run_id": files.run_id,
        **summary.model_dump(),
        "plan_sha256": items.checksum(),
        "gates": spec.gates if spec.judged else None,
        "results_sha256": _digest(files.results),
        "matches_sha256": _digest(files.matches),
    }
    storage.write_bytes(files.success, f"{json.dumps(content, indent=2)}\n".encode())


def read_mark(files: RunFiles) -> dict[str, Any]:
    """Return what the mark of a run says.

    Raises:
        FileMissing: the run has not finished.
        RecordError: the mark is damaged.
        StorageError: it cannot be read.
    """
    try:
        mark = json.loads(storage.read_bytes(files.success, _MOST_BYTES))
    except (FileTooLarge, ValueError, RecursionError) as error:
        raise RecordError(f"{files.success} is damaged; {tables.MADE_ANEW}") from error
    if not isinstance(mark, dict):
        raise RecordError(f"{files.success} is damaged; {tables.MADE_ANEW}")
    return mark


def closed(files: RunFiles, spec: RestyleSpec, items: PlanItems) -> RunSummary | None:
    """Return the numbers of a run that was closed with just these items and has none to do again.

    The bytes of its tables are compared with what the mark says of them, their rows not looked at:
    with a million rows that would take half a minute.

    Raises:
        StorageError: the output cannot be read.
    """
    try:
        mark = read_mark(files)
        summary = RunSummary.model_validate({name: mark[name] for name in RunSummary.model_fields})
        if summary.failed or mark["plan_sha256"] != items.checksum():
            return None
        if spec.judged and mark["gates"] != spec.gates:
            return None
        if "matches_sha256" not in mark or any(damaged_tables(files, mark)):
            return None
        read_record(files)
        return summary if storage.exists(files.report) else None
    except (FileMissing, RecordError, KeyError, ValueError):
        return None  # no mark, or one of an older version


def damaged_tables(files: RunFiles, mark: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for each table that is not the one that a mark was written for.

    Raises:
        StorageError: the output cannot be read.
    """
    folders = {
        "plan": (files.plan_styles, files.plan),
        "results": (files.results,),
        "matches": (files.matches,),
    }
    for name, places in folders.items():
        written = mark.get(f"{name}_sha256")  # marks of older versions do not tell of all
        if written is not None and _digest(*places) != written:
            yield f"{places[-1]} is not as it was written; {tables.MADE_ANEW}"


def _digest(*folders: str) -> str:
    """Return a hash of the parts of some tables, one after the other."""
    digest = hashlib.sha256()
    parts = [storage.join(place, name) for place in folders for name in tables.part_names(place)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for begin in range(0, len(parts), _THREADS):  # not all of them in memory
            for data in pool.map(storage.read_bytes, parts[begin : begin + _THREADS]):
                digest.update(data)
    return digest.hexdigest()
