"""Read and write run.json, the record of a run."""

from pydantic import ValidationError

from schemas.run import RunRecord
from tasks.errors import RecordError
from tasks.records import parquet
from tasks.records.layout import RunFiles


def read_record(files: RunFiles) -> RunRecord:
    """Return the record in run.json.

    Raises:
        FileMissing: run.json does not exist.
        RecordError: run.json is damaged.
        StorageError: run.json cannot be read.
    """
    try:
        return RunRecord.model_validate_json(files.record.read_bytes())
    except ValidationError as error:
        raise RecordError(f"{files.record} is damaged; {parquet.RERUN_REMEDY}") from error


def write_record(files: RunFiles, record: RunRecord) -> None:
    """Write run.json.

    Raises:
        StorageError: run.json cannot be written.
    """
    files.record.write_bytes(f"{record.model_dump_json(indent=2)}\n".encode())
