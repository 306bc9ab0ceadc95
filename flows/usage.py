"""Errors that are the user's to mend: one sentence on stderr and exit code 2, no traceback."""

import difflib
from collections.abc import Iterable, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stylegallery.errors import DidNotConverge, StyleGalleryError
from stylegallery.wording import one_line, shown
from tasks.access import printable
from tasks.errors import DiskFull, ManifestError, PlanError, StorageError, TaskError

EXIT_OK, EXIT_CRASH, EXIT_USAGE, EXIT_SOME_FAILED = 0, 1, 2, 3


class UsageError(Exception):
    """A command was asked for something that cannot be; the text says what to change."""


def exit_code(error: BaseException) -> int | None:
    """Return the exit code of an error whose text says all; None when its traceback is needed."""
    if isinstance(error, DiskFull):
        return EXIT_CRASH
    if isinstance(error, (UsageError, ManifestError, PlanError, StorageError)):
        return EXIT_USAGE
    if isinstance(error, DidNotConverge | TaskError):
        return EXIT_CRASH
    return EXIT_USAGE if isinstance(error, StyleGalleryError) else None


def nearest(name: str, known: Iterable[str], form: str = "`{}`") -> str:
    """Return `; did you mean X?` for the known name closest to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {form.format(close[0])}?" if close else ""


def unused_words(words: Sequence[str], argv: Sequence[str]) -> str:
    """Return what to write instead of words that no flag or argument takes."""
    word = words[0]
    place = argv.index(word) if word in argv else 0
    if place >= 2 and argv[place - 2] == "--set":
        name = argv[place - 1].rstrip("=")
        return f"--set {name} {word}: write it as one word, --set {name}={word.lstrip('=')}"
    flag = f" after {argv[place - 1]}" if place >= 1 else ""
    return f"`{word}`{flag} belongs to no flag; remove it, or put a value with blanks into quotes"


def sentence(error: ValidationError) -> str:
    """Return what a failed validation complains of as one line that names the field."""
    complaints = [(_where(c), c) for c in error.errors(include_url=False)]
    missing = [where for where, c in complaints if c["type"] == "missing"]
    if missing:
        return f"not given: {', '.join(missing)}"
    where, first = complaints[0]
    value = printable(shown(first["input"]))
    match first["type"]:
        case "string_pattern_mismatch":
            text = f"{where}: {value} is neither a local path nor a file:// or s3:// URI"
        case "value_error":  # a sentence of our own, on fields that do not go together
            text = f"{where}: {one_line(first['msg'].removeprefix('Value error, '), 300)}"
        case "extra_forbidden":
            text = f"{where}: there is no such setting; remove it or correct its name"
        case "json_invalid":
            text = f"{one_line(first['msg'], 200)}; write the settings as one JSON object"
        case _:
            text = f"{where}: {one_line(first['msg'], 200)}, got {value}"
    more = len(complaints) - 1
    return text + (f" (and {more} more)" if more else "")


def _where(complaint: ErrorDetails) -> str:
    return one_line(".".join(str(part) for part in complaint["loc"]), 100)
