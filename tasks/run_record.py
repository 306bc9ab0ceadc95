"""run.json, read back."""

from pydantic import ValidationError

from schemas.run import RunRecord
from tasks import storage, tables
from tasks.errors import RecordError
from tasks.run_files import RunFiles


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
        raise RecordError(f"{files.record} is damaged; {tables.MADE_ANEW}") from error
