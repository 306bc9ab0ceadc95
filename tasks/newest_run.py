"""Which run a command means when it names none: the newest of the output."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

from tasks import storage
from tasks.errors import FileMissing, RecordError
from tasks.run_files import RunFiles
from tasks.run_record import read_record

LATEST_RUN: Final = "latest"
_THREADS: Final = 16


def find_run(output: str, run_id: str = LATEST_RUN) -> str:
    """Return `run_id`, or the id of the newest run of `output` where it is `latest`.

    The newest run is the one that ended or, while it has not ended, started last.

    Args:
        output: Root of the outputs.
        run_id: Id of a run, or `latest`.

    Raises:
        FileMissing: there is no such run; the message names those that are there.
        StorageError: the output cannot be read.
    """
    root = storage.absolute(output)
    if run_id != LATEST_RUN:
        # A run whose run.json is gone is one still, and `verify` names what brings it back.
        there = storage.exists(RunFiles(root, run_id).record)
        if not there and run_id not in storage.list_folders(storage.join(root, "runs")):
            raise FileMissing(f"{root} has no run {run_id}{_those_there(root)}")
        return run_id
    names = storage.list_folders(storage.join(root, "runs"))
    with ThreadPoolExecutor(_THREADS) as pool:
        times = pool.map(lambda name: _last_time(RunFiles(root, name)), names)
        found = [(time, name) for time, name in zip(times, names, strict=True) if time]
    if not found:
        raise FileMissing(f"{root} holds no run; give the output of `stylegallery run`")
    return max(found)[1]


def _last_time(files: RunFiles) -> datetime | None:
    """Return when a run ended or started; None where its record is missing or damaged."""
    try:
        record = read_record(files)
    except (FileMissing, RecordError):
        return None
    return record.ended_at or record.started_at


def _those_there(root: str) -> str:
    names = storage.list_folders(storage.join(root, "runs"))
    if not names:
        return " and holds no other run; check the path"
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"; it holds {shown}"
