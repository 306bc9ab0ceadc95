"""Storage paths of folders and files in tests."""

from pathlib import Path

from tasks.records.layout import RunFiles
from tasks.storage import StoragePath


def at(place: Path | str) -> StoragePath:
    return StoragePath.parse(str(place))


def files_of(output: Path | str, run_id: str = "run-1") -> RunFiles:
    return RunFiles(at(output), run_id)
