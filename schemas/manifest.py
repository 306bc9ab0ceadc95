"""Manifests: what users bring. One row per product photo, one row per reference image."""

from datetime import date

from pydantic import Field

from schemas.base import Row

UNSEEN = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ufffe\uffff"
"""Inside the brackets of a pattern: control characters, and what turns the direction of a line.

Joiners, which some scripts need, are not among them.
"""
ID_PATTERN = f"^[^{UNSEEN}]*[^{UNSEEN}.][^{UNSEEN}]*$"
"""An id becomes one path segment (see :func:`schemas.work.path_segment`): no control character, not
only dots."""


class CatalogRow(Row):
    """One product photo. (`product_id`, `view`) is unique within a catalog."""

    product_id: str = Field(
        min_length=1,
        max_length=128,
        pattern=ID_PATTERN,
        description="Id of the product; becomes a folder name in the output.",
    )
    view: str = Field(
        "main",
        min_length=1,
        max_length=128,
        pattern=ID_PATTERN,
        description="Which photo of the product this is, such as `front` and `back`.",
    )
    image_uri: str = Field(
        min_length=1,
        description="The photo: a path relative to the manifest, an absolute path or a URI.",
    )
    galleries: list[str] | None = Field(
        None, description="Ids of the galleries for this photo; null means all of the run."
    )
    mask_uri: str | None = Field(
        None, description="Label image: each colour is a region the user fixes, black is free."
    )
    protect_uri: str | None = Field(
        None, description="Grey image: white keeps the original pixels, with soft edges."
    )
    routing_uri: str | None = Field(
        None, description="JSON pins: content region to reference image and region."
    )
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="Random seed; null derives it from the item id."
    )


class GalleryRow(Row):
    """One reference image. `style_id` is unique within its gallery."""

    gallery_id: str = Field(
        min_length=1,
        max_length=128,
        pattern=ID_PATTERN,
        description="Gallery the reference belongs to; becomes a folder name in the output.",
    )
    style_id: str = Field(
        min_length=1, max_length=128, pattern=ID_PATTERN, description="Id of the reference."
    )
    image_uri: str = Field(
        min_length=1,
        description="The reference: a path relative to the manifest, an absolute path or a URI.",
    )
    weight: float = Field(1.0, gt=0, le=100, description="Weight of this reference in its gallery.")
    mask_uri: str | None = Field(
        None, description="Label image: each colour is a region the user fixes, black is free."
    )
    license: str | None = Field(None, description="Licence of the reference image.")
    attribution: str | None = Field(None, description="Whom to credit.")
    valid_until: date | None = Field(None, description="Last day on which it may be used.")
