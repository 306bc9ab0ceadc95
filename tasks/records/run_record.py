"""run.json, read back."""

from pydantic import ValidationError

from schemas.run import RunRecord
from tasks import storage
from tasks.errors import RecordError
from tasks.records import parquet
from tasks.records.layout import RunFiles


def read_record(files: RunFiles) -> RunRecord:
    """Return what run.json says.

    Raises:
        FileMissing: it is not there.
        RecordError: it is damaged.
        StorageError: it cannot be read.
    """
    try:
        return RunRecord.model_validate_json(storage.read_bytes(files.record))
    except ValidationError as error:
        raise RecordError(f"{files.record} is damaged; {parquet.MADE_ANEW}") from error
