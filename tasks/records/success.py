"""Read and write `_SUCCESS`, the marker of a finished run, which is written last."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from schemas.run import RestyleSpec, RunSummary
from tasks.errors import FileMissing, FileTooLarge, RecordError
from tasks.records import parquet
from tasks.records.layout import RunFiles
from tasks.records.plan_parts import PlanItems
from tasks.records.run_record import read_record
from tasks.storage import StoragePath

_MOST_BYTES = 2**20
_THREADS = 16


def write_marker(files: RunFiles, spec: RestyleSpec, items: PlanItems, summary: RunSummary) -> None:
    """Write the marker of a run, after its tables and report.

    Raises:
        StorageError: the output cannot be read or written.
    """
    content = {
        "run_id": files.run_id,
        **summary.model_dump(),
        "plan_sha256": items.checksum(),
        "gates": spec.gates if spec.needs_evaluation else None,
        "results_sha256": _digest(files.results),
        "matches_sha256": _digest(files.matches),
    }
    files.success.write_bytes(f"{json.dumps(content, indent=2)}\n".encode())


def read_marker(files: RunFiles) -> dict[str, Any]:
    """Return the content of a run's marker.

    Raises:
        FileMissing: the run has not finished.
        RecordError: the marker is damaged.
        StorageError: the marker cannot be read.
    """
    try:
        mark = json.loads(files.success.read_bytes(_MOST_BYTES))
    except (FileTooLarge, ValueError, RecursionError) as error:
        raise RecordError(f"{files.success} is damaged; {parquet.RERUN_REMEDY}") from error
    if not isinstance(mark, dict):
        raise RecordError(f"{files.success} is damaged; {parquet.RERUN_REMEDY}")
    return mark


def read_success(files: RunFiles, spec: RestyleSpec, items: PlanItems) -> RunSummary | None:
    """Return the summary of a run that has finished these items; None if something is left to do.

    The SHA-256 of the tables is compared with the marker. Reading a million rows instead would take
    half a minute.

    Raises:
        StorageError: the output cannot be read.
    """
    try:
        mark = read_marker(files)
        summary = RunSummary.model_validate({name: mark[name] for name in RunSummary.model_fields})
        if summary.failed or mark["plan_sha256"] != items.checksum():
            return None
        if spec.needs_evaluation and mark["gates"] != spec.gates:
            return None
        if "matches_sha256" not in mark or any(damaged_tables(files, mark)):
            return None
        read_record(files)
        return summary if files.report.exists() else None
    except (FileMissing, RecordError, KeyError, ValueError):
        return None  # no marker, or one of an older version


def damaged_tables(files: RunFiles, mark: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for each table that differs from the marker's SHA-256.

    Raises:
        StorageError: the output cannot be read.
    """
    folders = {
        "plan": (files.plan_styles, files.plan),
        "results": (files.results,),
        "matches": (files.matches,),
    }
    for name, places in folders.items():
        written = mark.get(f"{name}_sha256")  # markers of older versions lack some tables
        if written is not None and _digest(*places) != written:
            yield f"{places[-1]} differs from the table that was written; {parquet.RERUN_REMEDY}"


def _digest(*folders: StoragePath) -> str:
    """Return the SHA-256 of the concatenated parts of some tables, in hex digits."""
    digest = hashlib.sha256()
    parts = [folder / name for folder in folders for name in parquet.part_names(folder)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for begin in range(0, len(parts), _THREADS):  # only a few in memory at a time
            for data in pool.map(StoragePath.read_bytes, parts[begin : begin + _THREADS]):
                digest.update(data)
    return digest.hexdigest()
