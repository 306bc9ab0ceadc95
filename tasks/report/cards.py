"""From the rows of a run to the cards of its report: fetches, shrinks and colours pictures."""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Final

from schemas.evaluation import ItemEvaluation, ItemMetrics, RegionMetrics
from schemas.result import ItemResult, MatchRow
from schemas.run import RunSummary
from schemas.work import WorkItem
from stylegallery.images.codec import pixels_to_hold
from stylegallery.palette import (
    NEUTRAL,
    Color,
    Labels,
    RegionKey,
    content_colors,
    gallery_colors,
)
from tasks import storage
from tasks.errors import FileTooLarge, StorageError
from tasks.records.item_key import ItemKey, key_of
from tasks.report.charts import label
from tasks.report.thumbnails import (
    SIDE,
    NotAnImage,
    Thumbnail,
    overlay,
    read_labels,
    thumbnail,
    thumbnail_path,
)

_TOTAL = "total"
_MOST_STACKED = 3
_NARROWEST, _WIDEST = 0.2, 0.55
_LESS_CAPTIONS = 0.84
Fetch = Callable[[str, int], bytes]
"""Reads a URI, absolute or below the output root, of so many bytes at most."""
Photos = dict[str, str]
"""URI of a picture to the version of its bytes."""

SIZES: Final = ((SIDE, 78), (512, 75), (400, 70), (304, 62), (232, 52), (184, 45))
"""Longer side and WebP quality of the thumbnails, best first."""
_BYTES_PER_PAGE, _BYTES_PER_ITEM = 950_000, 9_500
_MARKUP_PER_ITEM = 5_000
_SAMPLES, _THREADS = 4, 8
Palettes = dict[str, dict[RegionKey, Color]]


@dataclass(frozen=True)
class Shared:
    """A picture that several cards show: written once into the page, used by its id."""

    id: str
    picture: Thumbnail


@dataclass(frozen=True)
class Reference:
    """One reference of a gallery."""

    style_id: str
    weight: float
    image: Shared | None
    overlay: Shared | None


@dataclass(frozen=True)
class Match:
    """One row of an item's match table."""

    row: MatchRow
    colour: str
    figures: RegionMetrics | None = None


@dataclass(frozen=True)
class Card:
    """One item: before, references, after."""

    result: ItemResult
    before: Shared | None
    after: Thumbnail | None
    overlay: str
    references: list[Reference]
    matches: list[Match]
    evaluation: ItemEvaluation | None = None

    @property
    def figures(self) -> list[tuple[str, float]]:
        """What was measured of it, by name."""
        if self.evaluation is None:
            return []
        named = ((name, getattr(self.evaluation, name)) for name in ItemMetrics.model_fields)
        return [(label(name), value) for name, value in named if value is not None]

    @property
    def flags(self) -> list[str]:
        """A sentence for each quality gate that it misses, and each warning on its inputs."""
        return [*(self.evaluation.flags if self.evaluation else []), *self.result.warnings]

    @property
    def category(self) -> str:
        """What the catalog says that it is, in a further column `category`."""
        return self.result.extra.get("category", "")

    @property
    def seconds(self) -> float:
        """Time that the item took, all stages."""
        return total_seconds(self.result.timings)

    @property
    def reference_share(self) -> float:
        """Width of the references' column that makes it as high as the photo, which is 1 wide."""
        if not self.before:
            return _WIDEST
        heights = [
            r.image.picture.height / r.image.picture.width for r in self.references if r.image
        ]
        columns = 2 if len(self.references) > _MOST_STACKED else 1
        photo = self.before.picture.height / self.before.picture.width
        share = columns * photo * _LESS_CAPTIONS / (sum(heights) or 1.0)
        return max(_NARROWEST, min(share, _WIDEST))

    @property
    def name(self) -> str:
        """Product and, where it is not the main one, view."""
        view = self.result.view
        return self.result.product_id + ("" if view == "main" else f" · {view}")


@dataclass(frozen=True)
class Slice:
    """One stage of the timings figure."""

    stage: str
    seconds: float
    start: float
    share: float


@dataclass(frozen=True)
class Timings:
    """Mean seconds of the items that were computed, by stage."""

    slices: list[Slice] = field(default_factory=list)
    items: int = 0
    mean: float = 0.0
    median: float = 0.0
    longest: float = 0.0


def total_seconds(by_stage: Mapping[str, float]) -> float:
    """Return the measured total of an item, or the sum of its stages."""
    return by_stage.get(_TOTAL, 0.0) or sum(by_stage.values())


def timings(measured: Iterable[Mapping[str, float]]) -> Timings:
    """Sum up where the time of many items went, from the seconds by stage of each."""
    totals: dict[str, float] = defaultdict(float)
    sums = array("d")
    for one in measured:
        if one:
            sums.append(total_seconds(one))
            for stage, seconds in one.items():
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


def headline(summary: RunSummary) -> str:
    """Say in one line how a run ended."""
    troubles = [
        f"{count} {status}"
        for count, status in ((summary.rejected, "rejected"), (summary.failed, "failed"))
        if count
    ]
    of = f" of {summary.items}" if troubles else ""
    notes = [
        f"{count} {note}"
        for count, note in ((summary.flagged, "flagged"), (summary.warned, "with a warning"))
        if count
    ]
    return ", ".join([f"{summary.ok}{of} restyled", *notes, *troubles])


def match_table(
    result: ItemResult, painted: dict[int, Color], evaluation: ItemEvaluation | None = None
) -> list[Match]:
    """Return the match rows, largest region first, with their colours and figures."""
    rows = sorted(result.matches, key=lambda match: -match.area)
    figures = {one.region: one for one in evaluation.regions} if evaluation else {}
    return [
        Match(row, _css(painted.get(row.region, NEUTRAL)), figures.get(row.region)) for row in rows
    ]


def _css(colour: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


_BIG_BYTES, _BIG_PIXELS = 2**24, 4_000_000
"""Above these, one picture at a time is read and decoded."""


@dataclass
class Album:
    """The pictures of a report, each fetched and shrunk once.

    Attributes:
        fetch: Reads the bytes of a URI.
        size: Longer side and quality of the thumbnails.
        shared: Pictures that several cards show, by name.
    """

    fetch: Fetch
    size: tuple[int, int] = SIZES[0]
    shared: dict[str, Shared] = field(default_factory=dict)
    _photos: dict[str, Thumbnail | None] = field(default_factory=dict)
    _labels: dict[str, Labels | None] = field(default_factory=dict)
    # A thread of its own, not a lock: each thread keeps what its largest picture took.
    _one_big: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def load(self, photos: Photos, maps: set[str]) -> None:
        """Fetch all that the cards will ask for, several at a time."""
        with ThreadPoolExecutor(_THREADS) as threads:
            found = threads.map(self._photo, photos, photos.values())
            self._photos = dict(zip(photos, found, strict=True))
            self._labels = dict(zip(maps, threads.map(self._map, maps), strict=True))

    def choose_size(self, photos: Photos, items: int) -> None:
        """Take the largest thumbnails with which the page stays within its budget."""
        budget = max(_BYTES_PER_PAGE, _BYTES_PER_ITEM * items) - _MARKUP_PER_ITEM * items
        sampled = sorted(photos)[:: max(1, len(photos) // _SAMPLES)][:_SAMPLES]
        with ThreadPoolExecutor(_THREADS) as threads:
            found = threads.map(self._photo, sampled, (photos[uri] for uri in sampled))
            largest = [one for one in found if one]
        for self.size in SIZES:
            shrunk = [thumbnail(one.data, *self.size) for one in largest]
            mean = sum(len(one.uri) for one in shrunk) / max(len(shrunk), 1)
            if mean * len(photos) <= budget:
                break

    def photo(self, uri: str) -> Thumbnail | None:
        """Return a photo that `load` fetched; None when it could not be read."""
        return self._photos.get(uri)

    def labels(self, uri: str | None) -> Labels | None:
        """Return a region map that `load` fetched; None when it could not be read."""
        return self._labels.get(uri) if uri else None

    def share(self, name: str, picture: Thumbnail | None) -> Shared | None:
        """Put a picture into the page once, and return the handle to show it by."""
        if picture is None:
            return None
        if name not in self.shared:
            self.shared[name] = Shared(f"p{len(self.shared)}", picture)
        return self.shared[name]

    def _photo(self, uri: str, version: str) -> Thumbnail | None:
        """Shrink what an actor kept of a picture, or the picture itself where that is not there."""
        for place in (thumbnail_path(version), uri):
            with suppress(NotAnImage, StorageError):
                return self._shrunk(place)
        return None

    def _shrunk(self, uri: str) -> Thumbnail:
        try:
            data = self.fetch(uri, _BIG_BYTES)
        except FileTooLarge:
            return self._one_big.submit(self._whole, uri).result()
        if pixels_to_hold(data, self.size[0]) > _BIG_PIXELS:
            return self._one_big.submit(thumbnail, data, *self.size).result()
        return thumbnail(data, *self.size)

    def _whole(self, uri: str) -> Thumbnail:
        return thumbnail(self.fetch(uri, storage.MAX_IMAGE_BYTES), *self.size)

    def _map(self, uri: str) -> Labels | None:
        try:
            return read_labels(self.fetch(uri, storage.MAX_IMAGE_BYTES))
        except (NotAnImage, StorageError):
            return None


def make_cards(
    shown: Sequence[ItemResult],
    items: dict[str, WorkItem],
    evaluated: dict[ItemKey, ItemEvaluation],
    album: Album,
) -> list[Card]:
    """Return a card for each result in `shown`; `album` then holds the shared pictures."""
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
    album.choose_size(photos, len(shown))
    album.load(photos, maps)
    palettes = _palettes(shown, items, album)
    return [
        _card(result, items[result.item_id], evaluated.get(key_of(result)), album, palettes)
        for result in shown
    ]


def _palettes(shown: Sequence[ItemResult], items: dict[str, WorkItem], album: Album) -> Palettes:
    """Color the reference regions of each gallery: those that lend most area come first."""
    lent: dict[str, dict[RegionKey, float]] = defaultdict(dict)
    for result in shown:
        regions = lent[result.gallery_id]
        for style in items[result.item_id].styles:
            labels = album.labels(result.style_regions.get(style.style_id))
            for region in set(labels.ravel().tolist()) if labels is not None else set():
                regions.setdefault((style.style_id, region), 0.0)
        for match in result.matches:
            key = (match.style_id, match.style_region)
            regions[key] = regions.get(key, 0.0) + match.area
    return {
        gallery: gallery_colors(sorted(regions, key=lambda key: (-regions[key], key)))
        for gallery, regions in lent.items()
    }


def _card(
    result: ItemResult,
    item: WorkItem,
    evaluation: ItemEvaluation | None,
    album: Album,
    palettes: Palettes,
) -> Card:
    palette = palettes[result.gallery_id]
    painted, kept = content_colors(result.matches, palette)
    labels = album.labels(result.regions_uri)
    return Card(
        result=result,
        before=album.share(item.image_uri, album.photo(item.image_uri)),
        after=album.photo(result.asset_uri) if result.asset_uri else None,
        overlay=overlay(labels, painted, kept).uri if labels is not None else "",
        references=[
            Reference(
                style_id=style.style_id,
                weight=style.weight,
                image=album.share(style.image_uri, album.photo(style.image_uri)),
                overlay=_reference_overlay(result, style.style_id, album, palette),
            )
            for style in item.styles
        ],
        matches=match_table(result, painted, evaluation),
        evaluation=evaluation,
    )


def _reference_overlay(
    result: ItemResult, style_id: str, album: Album, palette: dict[RegionKey, Color]
) -> Shared | None:
    uri = result.style_regions.get(style_id)
    labels = album.labels(uri)
    if labels is None:
        return None
    colours = {region: colour for (style, region), colour in palette.items() if style == style_id}
    return album.share(f"regions {result.gallery_id} {style_id} {uri}", overlay(labels, colours))
