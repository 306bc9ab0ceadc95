"""Methods side by side: the same pairs, model and machine, and the same figures for all."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.benchmark import BenchmarkRow
from schemas.methods import Method
from schemas.params import StyleParams
from schemas.presets import Preset, preset_params
from stylegallery.errors import InputError
from stylegallery.images.codec import open_picture
from stylegallery.images.picture import Picture
from stylegallery.images.suffixes import IMAGE_SUFFIXES
from stylegallery.matching.correspondence import Correspondence
from stylegallery.metrics.item import Judge, RegionPair
from stylegallery.pipeline import StyleGallery
from stylegallery.types import PreparedImage, StyleJob


class BadFolder(InputError):
    """A benchmark folder is not laid out as it must be."""


@dataclass(frozen=True)
class Pair:
    """A content and a family of references.

    Attributes:
        content: Image file.
        family: Name of the folder of the references.
        references: Image files, as many as are used at most.
    """

    content: Path
    family: str
    references: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What tables and files call it."""
        return f"{self.content.stem}-{self.family}-{self.references[0].stem}"


@dataclass(frozen=True)
class Entry:
    """One line of the table: a method at a preset with so many references."""

    method: Method
    preset: Preset
    references: int

    @property
    def name(self) -> str:
        """What tables and files call it."""
        preset = "" if self.preset == "balanced" else f" {self.preset}"
        return f"{self.method}{preset}, {self.references}"

    @property
    def params(self) -> StyleParams:
        """Its parameters: the preset's over the method's own."""
        return preset_params(self.preset, method=self.method)


def pairs_of(contents: Path, styles: Path, count: int, references: int) -> list[Pair]:
    """Return `count` pairs; fewer are the first of more, so that a benchmark can grow.

    Args:
        contents: Folder of images.
        styles: Folder of families, each a folder of images.
        count: How many. Contents and families take turns far apart in the order of names, so that
            any number of pairs is spread over all; then the references of a family do.
        references: Most references of a pair; families with fewer are left out.

    Raises:
        BadFolder: there are no such images.
    """
    photos = _images(contents)
    folders = sorted(path for path in styles.iterdir() if path.is_dir()) if styles.is_dir() else []
    families = [(folder.name, _images(folder)) for folder in folders]
    families = [(name, members) for name, members in families if len(members) >= references]
    if not photos:
        raise BadFolder(f"{contents} holds no images; give a folder of them.")
    if not families:
        raise BadFolder(
            f"{styles} holds no folder of {references} images or more; give one that holds a "
            "folder for each style."
        )
    pairs = []
    for number in range(count):
        name, members = families[_turn(number, len(families))]
        first = number // len(families)
        chosen = tuple(members[(first + k) % len(members)] for k in range(references))
        pairs.append(Pair(photos[_turn(number, len(photos))], name, chosen))
    return pairs


class Bench:
    """Restyles pairs in several ways on one engine, and judges each by the same regions."""

    def __init__(self, engine: StyleGallery) -> None:
        """Take an engine; its memory of references is not used, so that none has an advantage."""
        self._engine, self._judge = engine, Judge()

    def run(
        self, pairs: Sequence[Pair], entries: Sequence[Entry]
    ) -> Iterator[tuple[Pair, Entry, BenchmarkRow, Picture]]:
        """Yield each way's row and picture of each pair; the pairs share UNet calls.

        Raises:
            InputError: an image cannot be used.
        """
        ready = [_PreparedPair(self._engine, self._judge, pair) for pair in pairs]
        for entry in entries:
            params = entry.params
            prepared = [one.images(entry, params) for one in ready]
            engine = StyleGallery(self._engine.models, self._engine.encoder)  # remembers nothing
            begin = time.monotonic()
            jobs = [
                StyleJob(images[0], images[1:], engine.match(images[0], images[1:], params))
                for images in prepared
            ]
            made = engine.stylize_batch(jobs, params)
            seconds = (time.monotonic() - begin) / len(pairs)
            for one, stylized in zip(ready, made, strict=True):
                row = one.row(entry, stylized.picture, seconds)
                yield one.pair, entry, row, stylized.picture


class _PreparedPair:
    """One pair: its pictures, prepared once for each method, and the figures of its results."""

    def __init__(self, engine: StyleGallery, judge: Judge, pair: Pair) -> None:
        self.pair = pair
        self._engine, self._judge = engine, judge
        self._pictures = [open_picture(path) for path in (pair.content, *pair.references)]
        self._looks = [judge.look(picture.pixels) for picture in self._pictures[1:]]
        self._prepared: dict[str, list[PreparedImage]] = {}

    def images(self, entry: Entry, params: StyleParams) -> list[PreparedImage]:
        """Return the content and as many references as `entry` uses."""
        pictures = self._pictures[: 1 + entry.references]
        found = self._prepared.setdefault(params.method, [])
        found += [self._engine.prepare(picture, params) for picture in pictures[len(found) :]]
        return found[: len(pictures)]

    def row(self, entry: Entry, made: Picture, seconds: float) -> BenchmarkRow:
        """Return the figures of a result, over the default method's regions for all."""
        content, *styles = self.images(entry, StyleParams())
        regions = region_pairs(content, styles, self._engine.match(content, styles))
        looks = self._looks[: entry.references]
        judged = self._judge.judge(made.pixels, self._pictures[0].pixels, looks, regions)
        return BenchmarkRow(
            pair=self.pair.name,
            content=self.pair.content.stem,
            family=self.pair.family,
            method=entry.method,
            preset=entry.preset,
            references=entry.references,
            seconds=seconds,
            **judged.figures,
        )


def region_pairs(
    content: PreparedImage, styles: Sequence[PreparedImage], routing: Correspondence
) -> list[RegionPair]:
    """Return each content region with the reference region that it was matched to."""
    pairs = []
    for region, index in enumerate(routing.best.tolist()):
        style, other = routing.locate(index)
        pairs.append(
            RegionPair(
                content.regions.labels == region,
                style,
                styles[style].regions.labels == other,
                float(content.descriptors.area[region]),
            )
        )
    return pairs


def _turn(number: int, size: int) -> int:
    """Return whose turn it is: each once in a round, neighbours far apart (golden section)."""
    steps = [step for step in range(1, size + 1) if math.gcd(step, size) == 1]
    return number * min(steps, key=lambda step: abs(step - 0.618 * size)) % size


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
