"""Exit codes, and user errors: one sentence on stderr and exit code 2, without a traceback."""

import difflib
from collections.abc import Iterable, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.params import GROUP_OF
from schemas.text import one_line, short_repr
from stylegallery.errors import DidNotConverge, StyleGalleryError
from tasks.errors import DiskFull, ManifestError, PlanError, StorageError, TaskError
from tasks.storage.policy import printable

EXIT_OK, EXIT_CRASH, EXIT_USAGE, EXIT_SOME_FAILED = 0, 1, 2, 3


class UsageError(Exception):
    """A command cannot do what is asked; the message says what to change."""


def exit_code(error: BaseException) -> int | None:
    """Return the exit code of an error whose message suffices; None if it needs a traceback."""
    if isinstance(error, DiskFull):
        return EXIT_CRASH
    if isinstance(error, (UsageError, ManifestError, PlanError, StorageError)):
        return EXIT_USAGE
    if isinstance(error, DidNotConverge | TaskError):
        return EXIT_CRASH
    return EXIT_USAGE if isinstance(error, StyleGalleryError) else None


def did_you_mean(name: str, known: Iterable[str], form: str = "`{}`") -> str:
    """Return `; did you mean X?` with the known name closest to `name`, or an empty string.

    Args:
        name: An unknown name.
        known: Names to choose from.
        form: Format of the suggested name.
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {form.format(close[0])}?" if close else ""


def describe_unused_words(words: Sequence[str], argv: Sequence[str]) -> str:
    """Return a message about words of a command line that belong to no flag.

    Args:
        words: The unused words.
        argv: The whole command line.
    """
    word = words[0]
    place = argv.index(word) if word in argv else 0
    if place >= 2 and argv[place - 2] == "--set":
        name = argv[place - 1].rstrip("=")
        return f"--set {name} {word}: write it as one word, --set {name}={word.lstrip('=')}"
    flag = f" after {argv[place - 1]}" if place >= 1 else ""
    return f"`{word}`{flag} belongs to no flag; remove it, or quote a value that contains spaces"


def validation_message(error: ValidationError) -> str:
    """Return a validation error as one line that names the field and the first violation."""
    details = [(_field(detail), detail) for detail in error.errors(include_url=False)]
    missing = [field for field, detail in details if detail["type"] == "missing"]
    if missing:
        return f"not given: {', '.join(missing)}"
    field, first = details[0]
    value = printable(short_repr(first["input"]))
    match first["type"]:
        case "string_pattern_mismatch":
            text = f"{field}: {value} is neither a local path nor a file:// or s3:// URI"
        case "value_error":  # from a validator of our own
            text = f"{field}: {one_line(first['msg'].removeprefix('Value error, '), 300)}"
        case "extra_forbidden":
            text = f"{field}: there is no such setting; remove it or correct its name"
        case "json_invalid":
            text = f"{one_line(first['msg'], 200)}; write the settings as one JSON object"
        case _:
            text = f"{field}: {one_line(first['msg'], 200)}, got {value}"
    more = len(details) - 1
    return text + (f" (and {more} more)" if more else "")


def _field(detail: ErrorDetails) -> str:
    parts = [str(part) for part in detail["loc"]]
    if len(parts) > 1 and GROUP_OF.get(parts[-1]) == parts[-2]:
        del parts[-2]  # names of style parameters are unique, and are mostly given without a group
    return one_line(".".join(parts), 100)
