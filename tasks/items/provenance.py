"""The metadata inside an asset: how it was made, and enough to rebuild its result after a crash.

It holds nothing that differs between runs, such as times or host names, so equal items give equal
bytes.
"""

import json
from typing import Any

from pydantic import Field, ValidationError

from schemas.base import Frozen
from schemas.params import StyleParams
from schemas.result import MatchRow
from schemas.work import StyleSource


class ReferenceCredit(Frozen):
    """One reference of an asset. Source URIs are omitted because assets are public."""

    style_id: str = Field(description="Id of the reference within its gallery.")
    image_version: str = Field(description="Content hash or ETag of the reference.")
    weight: float = Field(description="Weight of this reference.")
    license: str | None = Field(None, description="Its license when the asset was made.")
    attribution: str | None = Field(None, description="Whom to credit.")


class LearntStyle(Frozen):
    """A learnt style of an asset."""

    styles: list[str] = Field(description="Ids of the references that it was learnt from.")
    sha256: str = Field(description="SHA-256 of its file.")
    weak: bool = Field(False, description="True if the model learnt hardly anything.")


class AssetMetadata(Frozen):
    """Metadata of an asset, stored in the image file."""

    item_id: str = Field(description="The item of the asset.")
    engine: str = Field(description="Model, encoder, precision, device class and versions.")
    params: StyleParams = Field(description="Style parameters.")
    references: list[ReferenceCredit] = Field(description="The references.")
    seed: int = Field(description="Random seed.")
    width: int = Field(description="Width in pixels.")
    height: int = Field(description="Height in pixels.")
    regions_uri: str = Field(description="Path of the photo's region map below the output root.")
    style_regions: dict[str, str] = Field(description="style_id to path of its region map.")
    matches: list[MatchRow] = Field(description="One entry per content region.")
    metrics: dict[str, float] = Field(description="Metrics by name.")
    blank_styles: dict[str, str] = Field(
        default_factory=dict,
        description="style_id of each blank reference to how blank it is; omitted if empty.",
    )
    adapters: list[LearntStyle] = Field(
        default_factory=list, description="The learnt styles; omitted if there are none."
    )
    form: float | None = Field(
        None, description="Share of the product's form that is kept; omitted if not measured."
    )
    attempted_strengths: list[float] = Field(
        default_factory=list, description="Shares of the strength that were tried for the form."
    )

    def to_text(self) -> str:
        """Return ASCII JSON, the same for equal metadata."""
        optional = ("blank_styles", "adapters", "form", "attempted_strengths")
        exclude = {name for name in optional if not getattr(self, name)}
        content: dict[str, Any] = self.model_dump(mode="json", exclude=exclude)
        content["params"] = self.params.hashed()  # the same item is the same bytes
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def reference_credits(styles: list[StyleSource]) -> list[ReferenceCredit]:
    """Return the credits of an item's references."""
    names = set(ReferenceCredit.model_fields)
    return [ReferenceCredit.model_validate(style.model_dump(include=names)) for style in styles]


def rights_text(references: list[ReferenceCredit]) -> str:
    """Return a sentence with the licenses and attributions of the references, or ""."""
    terms = [
        ", ".join(filter(None, (ref.style_id, ref.license, ref.attribution)))
        for ref in references
        if ref.license or ref.attribution
    ]
    return f"Style references: {'; '.join(terms)}" if terms else ""


def parse_asset_metadata(text: str) -> AssetMetadata | None:
    """Parse the metadata of an asset; return None if `text` holds none."""
    try:
        return AssetMetadata.model_validate_json(text)
    except ValidationError:
        return None
