"""`_SUCCESS`: written last, and what tells at a look that nothing is left of a plan."""

import hashlib
import json

from schemas.run import RestyleSpec, RunSummary
from tasks import storage
from tasks.errors import FileMissing, FileTooLarge
from tasks.records import parquet
from tasks.records.layout import RunFiles
from tasks.records.plan_parts import PlanItems

_MOST_BYTES = 2**20


def write_mark(files: RunFiles, spec: RestyleSpec, items: PlanItems, summary: RunSummary) -> None:
    """Write the mark of a run whose tables and report stand.

    Raises:
        StorageError: the output cannot be read or written.
    """
    content = {
        "run_id": files.run_id,
        **summary.model_dump(),
        "plan_sha256": items.checksum(),
        "gates": spec.gates if spec.needs_evaluation else None,
        "results_sha256": _digest(files.results),
    }
    storage.write_bytes(files.success, f"{json.dumps(content, indent=2)}\n".encode())


def closed(files: RunFiles, spec: RestyleSpec, items: PlanItems) -> RunSummary | None:
    """Return the numbers of a run that was closed with just these items and has none to do again.

    Its tables are not looked at: with a million rows that takes half a minute.

    Raises:
        StorageError: the output cannot be read.
    """
    try:
        mark = json.loads(storage.read_bytes(files.success, _MOST_BYTES))
        summary = RunSummary.model_validate({name: mark[name] for name in RunSummary.model_fields})
        if summary.failed or mark["plan_sha256"] != items.checksum():
            return None
        if spec.needs_evaluation and mark["gates"] != spec.gates:
            return None
        return summary if storage.exists(files.report) else None
    except (FileMissing, FileTooLarge, KeyError, TypeError, ValueError):
        return None  # no mark, or one of an older version


def _digest(folder: str) -> str:
    """Return a hash of a table's parts, one after the other."""
    digest = hashlib.sha256()
    for name in parquet.part_names(folder):
        digest.update(storage.read_bytes(storage.join(folder, name)))
    return digest.hexdigest()
