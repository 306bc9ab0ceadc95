"""Files of learnt styles in `prepared/`, named by keys, and markers of those not learnt.

All may be deleted at any time: a missing style is learnt again. Where both files of a key exist,
the style counts.
"""

from typing import Literal, Self

from pydantic import Field, ValidationError

from schemas.base import Frozen
from schemas.text import one_line
from tasks.errors import FileMissing, FileTooLarge
from tasks.storage import StoragePath
from tasks.storage.redaction import redact

_MAX_BYTES = 2**16


class LearningFailure(Frozen):
    """Why a style was not learnt; it holds no names, because galleries may share the style."""

    kind: Literal["rejected", "failed"] = Field(
        description="rejected: the references are at fault; failed: an error of ours, which the "
        "next run tries again."
    )
    reason: str = Field(description="One sentence; `{0}` stands for the first reference.")
    run_id: str = Field(description="Run that wrote this; empty outside of runs.")

    @classmethod
    def of(cls, error: Exception, run_id: str, *, rejected: bool = False) -> Self:
        """Return the failure of a run that an error describes."""
        kind: Literal["rejected", "failed"] = "rejected" if rejected else "failed"
        reason = one_line(redact(str(error))) or type(error).__name__
        return cls(kind=kind, reason=reason, run_id=run_id)


def adapter_file(output: StoragePath, key: str) -> StoragePath:
    """Return the path of a learnt style."""
    return output / f"prepared/{key}.adapter.safetensors"


def failure_file(output: StoragePath, key: str) -> StoragePath:
    """Return the path of the marker of a style that was not learnt."""
    return output / f"prepared/{key}.adapter.json"


def read_failure(output: StoragePath, key: str) -> LearningFailure | None:
    """Return why a style was not learnt; None without a marker that can be read.

    Raises:
        StorageError: the store cannot be reached.
    """
    try:
        data = failure_file(output, key).read_bytes(_MAX_BYTES)
        return LearningFailure.model_validate_json(data)
    except (FileMissing, FileTooLarge, ValidationError):
        return None


def write_failure(output: StoragePath, key: str, failure: LearningFailure) -> None:
    """Write the marker of a style that was not learnt.

    Raises:
        StorageError: it cannot be written.
    """
    failure_file(output, key).write_bytes(f"{failure.model_dump_json(indent=2)}\n".encode())
