"""What the report's template shows, worked out from the rows of a run."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import mean, median

from schemas.evaluation import ItemEvaluation, ItemFigures, RegionFigures
from schemas.result import ItemResult, MatchRow
from schemas.run import RunSummary
from stylegallery.palette import NEUTRAL, Colour
from tasks.report.charts import label
from tasks.report.thumbnails import Thumbnail

_TOTAL = "total"
_MOST_STACKED = 3
_NARROWEST, _WIDEST = 0.2, 0.55
_LESS_CAPTIONS = 0.84


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
    figures: RegionFigures | None = None


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
        named = ((name, getattr(self.evaluation, name)) for name in ItemFigures.model_fields)
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
    result: ItemResult, painted: dict[int, Colour], evaluation: ItemEvaluation | None = None
) -> list[Match]:
    """Return the match rows, largest region first, with their colours and figures."""
    rows = sorted(result.matches, key=lambda match: -match.area)
    figures = {one.region: one for one in evaluation.regions} if evaluation else {}
    return [
        Match(row, _css(painted.get(row.region, NEUTRAL)), figures.get(row.region)) for row in rows
    ]


def _css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
