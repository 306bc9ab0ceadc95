"""The cards of the report: images, matches and metrics of each item."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median

from schemas.evaluation import ItemEvaluation, ItemMetrics, RegionMetrics
from schemas.result import ItemResult, MatchRow
from schemas.work import WorkItem
from stylegallery.palette import (
    NEUTRAL,
    Color,
    RegionKey,
    content_colors,
    gallery_colors,
)
from tasks import storage
from tasks.records.item_key import ItemKey, key_of
from tasks.report.charts import label
from tasks.report.thumbnails import Photos, SharedImage, Thumbnail, ThumbnailStore, overlay

_TOTAL = "total"
_MAX_STACKED = 3
_MIN_SHARE, _MAX_SHARE = 0.2, 0.55
_CAPTION_FACTOR = 0.84
Palettes = dict[str, dict[RegionKey, Color]]


@dataclass(frozen=True)
class Reference:
    """One reference of an item's gallery."""

    style_id: str
    weight: float
    image: SharedImage | None
    overlay: SharedImage | None


@dataclass(frozen=True)
class Match:
    """One row of an item's match table."""

    row: MatchRow
    color: str
    metrics: RegionMetrics | None = None


@dataclass(frozen=True)
class Card:
    """One item: before, references, after."""

    result: ItemResult
    before: SharedImage | None
    after: Thumbnail | None
    overlay: str
    references: list[Reference]
    matches: list[Match]
    evaluation: ItemEvaluation | None = None

    @property
    def metrics(self) -> list[tuple[str, float]]:
        """Display names and values of its metrics."""
        if self.evaluation is None:
            return []
        named = ((name, getattr(self.evaluation, name)) for name in ItemMetrics.model_fields)
        return [(label(name), value) for name, value in named if value is not None]

    @property
    def flags(self) -> list[str]:
        """A sentence for each missed quality gate and each warning about its inputs."""
        return [*(self.evaluation.flags if self.evaluation else []), *self.result.warnings]

    @property
    def category(self) -> str:
        """Value of the catalog's extra column `category`, or empty."""
        return self.result.extra.get("category", "")

    @property
    def seconds(self) -> float:
        """Seconds that the item took in all stages."""
        return total_seconds(self.result.timings)

    @property
    def reference_share(self) -> float:
        """Width of the reference column, relative to the photo, that gives both one height."""
        if not self.before:
            return _MAX_SHARE
        heights = [
            r.image.picture.height / r.image.picture.width for r in self.references if r.image
        ]
        columns = 2 if len(self.references) > _MAX_STACKED else 1
        photo = self.before.picture.height / self.before.picture.width
        share = columns * photo * _CAPTION_FACTOR / (sum(heights) or 1.0)
        return max(_MIN_SHARE, min(share, _MAX_SHARE))

    @property
    def name(self) -> str:
        """Product and view; `main` is omitted."""
        view = self.result.view
        return self.result.product_id + ("" if view == "main" else f" · {view}")


@dataclass(frozen=True)
class Slice:
    """One stage of the timings chart; start and share are fractions of the total."""

    stage: str
    seconds: float
    start: float
    share: float


@dataclass(frozen=True)
class Timings:
    """Seconds of computed items: means by stage, and statistics of the totals."""

    slices: list[Slice] = field(default_factory=list)
    items: int = 0
    mean: float = 0.0
    median: float = 0.0
    longest: float = 0.0


def total_seconds(by_stage: Mapping[str, float]) -> float:
    """Return the total of an item's timings, or else their sum."""
    return by_stage.get(_TOTAL, 0.0) or sum(by_stage.values())


def timings(measured: Iterable[Mapping[str, float]]) -> Timings:
    """Average the timings of many items, each a mapping from stage to seconds."""
    totals: dict[str, float] = defaultdict(float)
    sums = array("d")
    for by_stage in measured:
        if by_stage:
            sums.append(total_seconds(by_stage))
            for stage, seconds in by_stage.items():
                totals[stage] += seconds
    totals.pop(_TOTAL, None)
    if not sums:
        return Timings()
    whole = sum(totals.values()) or 1.0
    slices, start = [], 0.0
    for stage, seconds in totals.items():
        slices.append(Slice(stage, seconds / len(sums), start, seconds / whole))
        start += seconds / whole
    return Timings(slices, len(sums), mean(sums), median(sums), max(sums))


def match_table(
    result: ItemResult, painted: dict[int, Color], evaluation: ItemEvaluation | None = None
) -> list[Match]:
    """Return the matches with their colors and metrics, largest region first."""
    rows = sorted(result.matches, key=lambda match: -match.area)
    metrics = {one.region: one for one in evaluation.regions} if evaluation else {}
    return [
        Match(row, _css(painted.get(row.region, NEUTRAL)), metrics.get(row.region)) for row in rows
    ]


def _css(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def make_cards(
    shown: Sequence[ItemResult],
    items: dict[str, WorkItem],
    evaluated: dict[ItemKey, ItemEvaluation],
    thumbnails: ThumbnailStore,
) -> list[Card]:
    """Return a card for each result in `shown`; fill `thumbnails` with the images they share."""
    photos: Photos = {}
    maps: set[str] = set()
    for result in shown:
        item = items[result.item_id]
        photos[item.image_uri] = item.image_version
        photos |= {style.image_uri: style.image_version for style in item.styles}
        if result.asset_uri:
            photos[result.asset_uri] = storage.sha256_version(result.asset_sha256 or "")
        maps |= {*result.style_regions.values()}
        maps |= {result.regions_uri} if result.regions_uri else set()
    thumbnails.choose_size(photos, len(shown))
    thumbnails.load(photos, maps)
    palettes = _palettes(shown, items, thumbnails)
    return [
        _card(result, items[result.item_id], evaluated.get(key_of(result)), thumbnails, palettes)
        for result in shown
    ]


def _palettes(
    shown: Sequence[ItemResult], items: dict[str, WorkItem], thumbnails: ThumbnailStore
) -> Palettes:
    """Assign colors to the reference regions of each gallery, most used ones first."""
    used_area: dict[str, dict[RegionKey, float]] = defaultdict(dict)
    for result in shown:
        regions = used_area[result.gallery_id]
        for style in items[result.item_id].styles:
            labels = thumbnails.labels(result.style_regions.get(style.style_id))
            for region in set(labels.ravel().tolist()) if labels is not None else set():
                regions.setdefault((style.style_id, region), 0.0)
        for match in result.matches:
            key = (match.style_id, match.style_region)
            regions[key] = regions.get(key, 0.0) + match.area
    return {
        gallery: gallery_colors(sorted(regions, key=lambda key: (-regions[key], key)))
        for gallery, regions in used_area.items()
    }


def _card(
    result: ItemResult,
    item: WorkItem,
    evaluation: ItemEvaluation | None,
    thumbnails: ThumbnailStore,
    palettes: Palettes,
) -> Card:
    palette = palettes[result.gallery_id]
    painted, kept = content_colors(result.matches, palette)
    labels = thumbnails.labels(result.regions_uri)
    return Card(
        result=result,
        before=thumbnails.share(item.image_uri, thumbnails.photo(item.image_uri)),
        after=thumbnails.photo(result.asset_uri) if result.asset_uri else None,
        overlay=overlay(labels, painted, kept).uri if labels is not None else "",
        references=[
            Reference(
                style_id=style.style_id,
                weight=style.weight,
                image=thumbnails.share(style.image_uri, thumbnails.photo(style.image_uri)),
                overlay=_reference_overlay(result, style.style_id, thumbnails, palette),
            )
            for style in item.styles
        ],
        matches=match_table(result, painted, evaluation),
        evaluation=evaluation,
    )


def _reference_overlay(
    result: ItemResult, style_id: str, thumbnails: ThumbnailStore, palette: dict[RegionKey, Color]
) -> SharedImage | None:
    uri = result.style_regions.get(style_id)
    labels = thumbnails.labels(uri)
    if labels is None:
        return None
    colors = {region: color for (style, region), color in palette.items() if style == style_id}
    return thumbnails.share(
        f"regions {result.gallery_id} {style_id} {uri}", overlay(labels, colors)
    )
