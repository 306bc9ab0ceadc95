"""What became of an item, and which region took its style from where."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from schemas.base import Row

Status = Literal["ok", "rejected", "failed"]
FallbackUsed = Literal["none", "global", "content"]


class MatchRow(Row):
    """One content region and the reference region that it took its style from."""

    region: int = Field(description="Index of the content region, from 0.")
    area: float = Field(description="Share of the image that the region covers, 0 to 1.")
    centroid_x: float = Field(description="Centre of the region from the left, 0 to 1.")
    centroid_y: float = Field(description="Centre of the region from the top, 0 to 1.")
    style_id: str = Field(description="Id of the best reference.")
    style_region: int = Field(description="Index of the region within that reference, from 0.")
    semantic: float = Field(description="Semantic similarity, -1 to 1.")
    statistical: float = Field(description="Similarity of UNet feature statistics, -1 to 1.")
    geometric: float = Field(description="Overlap of the regions' circles, 0 to 1.")
    similarity: float = Field(description="Weighted sum of the three.")
    fallback: FallbackUsed = Field(description="What was done instead of the match, or none.")
    pinned: bool = Field(False, description="True where the user fixed this match.")


class ErrorInfo(Row):
    """Why an item has no asset."""

    stage: str = Field(
        description="What was being done: plan, read, decode, prepare, stylize, write, actor."
    )
    type: str = Field(description="Class of the error.")
    message: str = Field(description="One sentence: what is wrong, where, what to do.")
    transient: bool = Field(False, description="True when another attempt may succeed.")
    traceback: str = Field("", description="Tail of the traceback, for failed items.")


class ItemResult(Row):
    """One row per item asked for, whatever happened to it."""

    item_id: str = Field(description="Hash of all that can change the picture, 64 hex digits.")
    product_id: str = Field(description="Id of the product.")
    view: str = Field(description="Which photo of the product.")
    gallery_id: str = Field(description="Gallery whose style it takes.")
    status: Status = Field(
        description="ok: the asset stands; rejected: the input is at fault; "
        "failed: ours, after retries."
    )
    reused: bool = Field(False, description="True when an earlier run's asset was taken over.")
    asset_uri: str | None = Field(None, description="Path of the asset below the output root.")
    asset_sha256: str | None = Field(None, description="SHA-256 of the asset's bytes.")
    asset_bytes: int | None = Field(None, description="Size of the asset in bytes.")
    width: int | None = Field(None, description="Width in pixels, the original's.")
    height: int | None = Field(None, description="Height in pixels, the original's.")
    regions_uri: str | None = Field(
        None, description="Path of the photo's region map below the output root."
    )
    style_regions: dict[str, str] = Field(
        default_factory=dict, description="style_id to path of that reference's region map."
    )
    matches: list[MatchRow] = Field(
        default_factory=list, description="One entry per content region."
    )
    metrics: dict[str, float] = Field(default_factory=dict, description="Figures by name.")
    timings: dict[str, float] = Field(default_factory=dict, description="Seconds by stage.")
    seed: int | None = Field(None, description="Random seed used.")
    attempts: int = Field(1, description="How often the item was started.")
    error: ErrorInfo | None = Field(None, description="Why there is no asset.")
    warnings: list[str] = Field(
        default_factory=list,
        description="Sentences on inputs to look at, such as a blank reference.",
    )
    engine_fingerprint: str = Field("", description="Model, encoder, device class and precision.")
    node: str = Field("", description="Host that did the work.")
    run_id: str = Field("", description="Run that did the work.")
    finished_at: datetime | None = Field(None, description="When the item ended, UTC.")
    extra: dict[str, str] = Field(
        default_factory=dict, description="Further catalog columns, carried through as text."
    )
