"""The rules for messages: one line of visible text, of limited length, without tracebacks."""

import re

from schemas.text import has_control_characters

MOST = 400
_INSIDES = re.compile(r"Traceback|<class |object at 0x|\b[A-Z]\w*(Error|Exception)\(|pydantic\.dev")


def violation(text: str, *places: str, most: int = MOST) -> str:
    """Return which rule a message breaks, or an empty string.

    Args:
        text: The message.
        places: Paths in it, whose length does not count.
        most: Maximum number of other characters.
    """
    short = text
    for place in places:
        short = short.replace(place, "")
    if not text.strip():
        return "it is empty"
    if has_control_characters(text):
        return f"it is not one line of visible text: {text!r}"
    if len(short) > most:
        return f"it has {len(short)} characters: {text}"
    if found := _INSIDES.search(short):
        return f"it shows our insides ({found.group()}): {text}"
    return ""
