"""Find the newest run of an output, for commands that name no run."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

from tasks.errors import FileMissing, RecordError
from tasks.records.layout import RunFiles
from tasks.records.run_record import read_record
from tasks.storage import StoragePath

LATEST_RUN: Final = "latest"
_THREADS: Final = 16


def find_run(output: str, run_id: str = LATEST_RUN) -> str:
    """Return `run_id`, or the id of the newest run of `output` if it is `latest`.

    The newest run is the one with the latest end time, or start time if it has not ended.

    Args:
        output: The output root.
        run_id: Id of a run, or `latest`.

    Raises:
        FileMissing: the run does not exist; the message lists the existing runs.
        StorageError: the output cannot be read.
    """
    root = StoragePath.parse(output)
    if run_id != LATEST_RUN:
        # A run without run.json still exists; `verify` tells how to repair it.
        there = RunFiles(root, run_id).record.exists()
        if not there and run_id not in (root / "runs").list_folders():
            raise FileMissing(f"{root} has no run {run_id}{_those_there(root)}")
        return run_id
    names = (root / "runs").list_folders()
    with ThreadPoolExecutor(_THREADS) as pool:
        times = pool.map(lambda name: _last_time(RunFiles(root, name)), names)
        found = [(time, name) for time, name in zip(times, names, strict=True) if time]
    if not found:
        raise FileMissing(f"{root} holds no run; give the output folder of `stylegallery run`")
    return max(found)[1]


def _last_time(files: RunFiles) -> datetime | None:
    """Return the end or start time of a run; None if its record is missing or damaged."""
    try:
        record = read_record(files)
    except (FileMissing, RecordError):
        return None
    return record.ended_at or record.started_at


def _those_there(root: StoragePath) -> str:
    names = (root / "runs").list_folders()
    if not names:
        return " and no other run; check the path"
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"; it has {shown}"
