"""Make untrusted text safe to print: in messages, logs and pages."""

import re
from typing import Any, Final

from schemas.manifest import UNSEEN

_UNSEEN: Final = re.compile(f"[{UNSEEN}\ud800-\udfff]")
_UNSEEN_BUT_LINES: Final = re.compile(f"(?![\\n\\t])[{UNSEEN}\ud800-\udfff]")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def has_control_characters(text: str) -> bool:
    """Tell whether `text` holds control characters or lone surrogates."""
    return _UNSEEN.search(text) is not None


def one_line(text: str, most: int = 1000) -> str:
    """Return `text` as one line of at most `most` characters, control characters replaced."""
    cut = text[: most * 2]
    line = _UNSEEN.sub(_REPLACEMENT, " ".join(cut.split()))
    return line if len(line) <= most and len(cut) == len(text) else f"{line[: most - 3]}..."


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 photo`, `2 galleries`.

    Args:
        number: How many.
        noun: In the singular.
        plural: Where neither -s nor -ies makes it.
    """
    if number != 1:
        noun = plural or (f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s")
    return f"{number:,} {noun}"


def clean(text: str) -> str:
    """Return `text` with control characters replaced, except line breaks and tabs."""
    return _UNSEEN_BUT_LINES.sub(_REPLACEMENT, text)


def short_repr(value: Any, most: int = 80) -> str:
    """Return a value for a message: quoted, escaped and shortened."""
    if isinstance(value, str):
        value = value[:most] + "..." if len(value) > most else value
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of too many digits, lists too deep
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= most + 5 else f"{text[:most]}..."
