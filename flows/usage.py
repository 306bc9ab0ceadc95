"""Errors that are the user's to mend: one sentence on stderr and exit code 2, no traceback."""

import difflib
from collections.abc import Iterable

from pydantic import ValidationError

from stylegallery.errors import DidNotConverge, StyleGalleryError
from tasks.errors import ManifestError, PlanError, StorageError, TaskError

EXIT_OK, EXIT_CRASH, EXIT_USAGE, EXIT_SOME_FAILED = 0, 1, 2, 3


class UsageError(Exception):
    """A command was asked for something that cannot be; the text says what to change."""


def exit_code(error: BaseException) -> int | None:
    """Return the exit code of an error whose text says all; None when its traceback is needed."""
    ours = isinstance(error, (DidNotConverge,)) or (
        isinstance(error, TaskError)
        and not isinstance(error, (ManifestError, PlanError, StorageError))
    )
    if ours:
        return EXIT_CRASH
    return EXIT_USAGE if isinstance(error, (UsageError, StyleGalleryError, TaskError)) else None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` for the known name closest to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else ""


def sentence(error: ValidationError) -> str:
    """Return the first complaint of a failed validation as one line naming the field."""
    complaints = error.errors(include_url=False)
    first = complaints[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        text = f"`{where}` is required"
    else:
        text = f"`{where}`: {first['msg']}, got {first['input']!r}"
    more = len(complaints) - 1
    return text + (f" (and {more} more)" if more else "")
