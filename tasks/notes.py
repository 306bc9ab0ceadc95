"""The note inside an asset: enough to write its row again when the row was lost in a crash.

It holds nothing that differs from run to run (no times, no host), so that the same item is the
same bytes.
"""

import json
from typing import Any

from pydantic import Field, ValidationError

from schemas.base import Frozen
from schemas.result import MatchRow


class Note(Frozen):
    """What an asset knows of itself."""

    item_id: str = Field(description="The item it was made for.")
    seed: int = Field(description="Random seed used.")
    width: int = Field(description="Width in pixels.")
    height: int = Field(description="Height in pixels.")
    regions_uri: str = Field(description="Path of the photo's region map below the output root.")
    style_regions: dict[str, str] = Field(description="style_id to path of its region map.")
    matches: list[MatchRow] = Field(description="One entry per content region.")
    metrics: dict[str, float] = Field(description="Figures by name.")

    def to_text(self) -> str:
        """Return ASCII JSON, the same for equal notes."""
        content: dict[str, Any] = self.model_dump(mode="json")
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def parse_note(text: str) -> Note | None:
    """Return the note that `text` holds, or None when it holds none of ours."""
    try:
        return Note.model_validate_json(text)
    except ValidationError:
        return None
