"""The outcome of an item, and the match of each of its regions."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from schemas.base import Row

Status = Literal["ok", "rejected", "failed"]
FallbackUsed = Literal["none", "global", "content"]


class MatchRow(Row):
    """The match of one content region to a reference region."""

    region: int = Field(description="Index of the content region, from 0.")
    area: float = Field(description="Fraction of the image that the region covers, 0 to 1.")
    centroid_x: float = Field(description="Horizontal center of the region, 0 (left) to 1.")
    centroid_y: float = Field(description="Vertical center of the region, 0 (top) to 1.")
    style_id: str = Field(description="Id of the best-matching reference.")
    style_region: int = Field(description="Index of the region within that reference, from 0.")
    semantic: float = Field(description="Semantic similarity, -1 to 1.")
    statistical: float = Field(description="Similarity of UNet feature statistics, -1 to 1.")
    geometric: float = Field(description="Overlap of the region circles, 0 to 1.")
    similarity: float = Field(description="Weighted sum of the three similarities.")
    fallback: FallbackUsed = Field(description="What replaced the match, or `none`.")
    pinned: bool = Field(False, description="True if the user pinned this match.")


class ErrorInfo(Row):
    """Why an item has no asset."""

    stage: str = Field(
        description="Where it happened: plan, learn, read, decode, prepare, stylize, write or "
        "actor."
    )
    type: str = Field(description="Class of the error.")
    message: str = Field(description="One sentence: what is wrong, where, what to do.")
    transient: bool = Field(False, description="True if another attempt may succeed.")
    traceback: str = Field("", description="End of the traceback, for failed items.")


class ItemResult(Row):
    """The outcome of one item; every planned item has exactly one row."""

    item_id: str = Field(
        description="Hash of everything that can change the picture, 64 hex digits."
    )
    product_id: str = Field(description="Id of the product.")
    view: str = Field(description="Which photo of the product.")
    gallery_id: str = Field(description="Id of the gallery.")
    status: Status = Field(
        description="ok: the asset exists; rejected: the input cannot be used; failed: an error "
        "of ours, after retries."
    )
    reused: bool = Field(False, description="True if the asset of an earlier run was reused.")
    asset_uri: str | None = Field(None, description="Path of the asset below the output folder.")
    asset_sha256: str | None = Field(None, description="SHA-256 of the asset.")
    asset_bytes: int | None = Field(None, description="Size of the asset in bytes.")
    width: int | None = Field(None, description="Width in pixels; that of the photo.")
    height: int | None = Field(None, description="Height in pixels; that of the photo.")
    method: str = Field("", description="Method that made the asset.")
    regions_uri: str | None = Field(
        None, description="Path of the photo's region map below the output folder."
    )
    style_regions: dict[str, str] = Field(
        default_factory=dict, description="Path of each reference's region map, by style id."
    )
    matches: list[MatchRow] = Field(
        default_factory=list, description="One entry per content region."
    )
    metrics: dict[str, float] = Field(
        default_factory=dict, description="Losses and other measurements, by name."
    )
    form: float | None = Field(
        None,
        description="Share of the product's outlines and of its contrast with the ground that is "
        "kept (0 to 1); null if not measured.",
    )
    attempted_strengths: list[float] = Field(
        default_factory=list,
        description="Shares of the strength that were tried until the form was kept, in order.",
    )
    timings: dict[str, float] = Field(default_factory=dict, description="Seconds per stage.")
    seed: int | None = Field(None, description="Random seed that was used.")
    attempts: int = Field(1, description="Number of attempts.")
    error: ErrorInfo | None = Field(None, description="Why there is no asset.")
    warnings: list[str] = Field(
        default_factory=list,
        description="Warnings about inputs, such as a blank reference.",
    )
    engine_fingerprint: str = Field("", description="Model, encoder, device class and precision.")
    node: str = Field("", description="Host that computed the item.")
    run_id: str = Field("", description="Run that computed the item.")
    finished_at: datetime | None = Field(None, description="When the item ended, UTC.")
    extra: dict[str, str] = Field(
        default_factory=dict, description="Further catalog columns, as text."
    )
