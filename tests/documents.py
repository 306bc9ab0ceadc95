"""The commands and code blocks of a Markdown document."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_TYPED = re.compile(r"(make|stylegallery|prefect|docker|kubectl|cp|export|python -m) ")
_PART = re.compile(r"^(#+ [^\n]*)$|^```(\w*)\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A shell command.

    Attributes:
        text: The line without its comment.
        heading: Heading of its section.
    """

    text: str
    heading: str


def commands(document: str) -> list[Command]:
    """Return the commands in the code blocks of a document, and whole commands in its text."""
    found, heading = [], ""
    for title, language, block, inline in _PART.findall((ROOT / document).read_text()):
        if title:
            heading = title.lstrip("# ")
        lines = block.splitlines() if block and not language else [inline]
        for line in lines:
            text = re.sub(r"\s+", " ", re.sub(r"\s+# .*", "", line)).strip()
            whole = bool(block) or " --" in text or text.startswith(("make", "python"))
            if _TYPED.match(text) and whole:
                found.append(Command(text, heading))
    return found


def block(document: str, language: str, number: int = 0) -> str:
    """Return the text of the code block with index `number` of a language."""
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[number]
