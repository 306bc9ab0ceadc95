"""The rows of manifests: product photos and reference images."""

from datetime import date

from pydantic import Field

from schemas.base import Row
from schemas.methods import Method
from schemas.presets import Preset

UNSEEN = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ufffe\uffff"
"""Control characters and text-direction marks, for use inside the brackets of a pattern.

Joiners are allowed: some scripts need them.
"""
ID_PATTERN = f"^[^{UNSEEN}]*[^{UNSEEN}.][^{UNSEEN}]*$"
"""Ids become path segments (see :func:`schemas.work.path_segment`): no control characters, and not
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
        description="Which photo of the product, such as `front` or `back`.",
    )
    image_uri: str = Field(
        min_length=1,
        description="The photo: a path relative to the manifest, an absolute path or a URI.",
    )
    galleries: list[str] | None = Field(
        None,
        description="Ids of the galleries for this photo. Null means all galleries of the run.",
    )
    mask_uri: str | None = Field(
        None, description="Label image: each color is a user-defined region, black is free."
    )
    protect_uri: str | None = Field(
        None, description="Gray image: white keeps the original pixels, with a soft edge."
    )
    routing_uri: str | None = Field(
        None, description="JSON file that pins content regions to reference regions."
    )
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="Random seed. Null derives it from the item id."
    )


class GalleryRow(Row):
    """One reference image. `style_id` is unique within its gallery."""

    gallery_id: str = Field(
        min_length=1,
        max_length=128,
        pattern=ID_PATTERN,
        description="Id of the gallery; becomes a folder name in the output.",
    )
    style_id: str = Field(
        min_length=1, max_length=128, pattern=ID_PATTERN, description="Id of the reference."
    )
    image_uri: str = Field(
        min_length=1,
        description="The reference: a path relative to the manifest, an absolute path or a URI.",
    )
    weight: float = Field(
        1.0, gt=0, le=100, description="Weight of the reference within its gallery."
    )
    mask_uri: str | None = Field(
        None, description="Label image: each color is a user-defined region, black is free."
    )
    license: str | None = Field(None, description="License of the reference image.")
    attribution: str | None = Field(None, description="Credit line.")
    valid_until: date | None = Field(
        None, description="Last day on which the reference may be used."
    )
    method: Method | None = Field(
        None,
        description="Method of the gallery, with its own defaults, instead of the run's. One row "
        "of the gallery can name it, or all alike.",
    )
    preset: Preset | None = Field(
        None, description="Preset of the gallery instead of the run's; stated like `method`."
    )
