"""Restyle the same pairs by several methods on one engine, and compute the same metrics for all."""

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
from stylegallery.metrics import second, text
from stylegallery.metrics.item import MetricSuite
from stylegallery.metrics.pairs import RegionPair
from stylegallery.pipeline import StyleGallery
from stylegallery.types import PreparedImage, StyleJob


class BadFolder(InputError):
    """A benchmark's input folder has the wrong layout."""


@dataclass(frozen=True)
class Pair:
    """A content image and references of one style family.

    Attributes:
        content: Image file.
        family: Name of the family's folder.
        references: Image files, as many as a variant uses at most.
    """

    content: Path
    family: str
    references: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Name in tables and files."""
        return f"{self.content.stem}-{self.family}-{self.references[0].stem}"


@dataclass(frozen=True)
class BenchmarkVariant:
    """A row of the table: a method at a preset with a number of references."""

    method: Method
    preset: Preset
    references: int

    @property
    def name(self) -> str:
        """Name in tables and files."""
        preset = "" if self.preset == "balanced" else f" {self.preset}"
        return f"{self.method}{preset}, {self.references}"

    @property
    def params(self) -> StyleParams:
        """Parameters: those of the method, overridden by the preset."""
        return preset_params(self.preset, method=self.method)


def make_pairs(contents: Path, styles: Path, count: int, references: int) -> list[Pair]:
    """Return `count` pairs; a larger count only appends pairs, so that a benchmark can grow.

    Args:
        contents: Folder of images.
        styles: Folder of style families, each a folder of images.
        count: Number of pairs. Successive pairs take contents and families far apart in the order
            of names, so that few pairs cover all of them, and then other references of a family.
        references: Number of references of a pair; families with fewer are skipped.

    Raises:
        BadFolder: a folder has no such images.
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
        name, members = families[_spread_index(number, len(families))]
        first = number // len(families)
        chosen = tuple(members[(first + k) % len(members)] for k in range(references))
        pairs.append(Pair(photos[_spread_index(number, len(photos))], name, chosen))
    return pairs


class BenchmarkRunner:
    """Restyles pairs by several variants on one engine, and measures all on the same regions."""

    def __init__(self, engine: StyleGallery) -> None:
        """Take an engine; its caches are not used, so that no variant has an advantage.

        The second judge of style and the text kept are measured if the extra `benchmarks` is
        installed.
        """
        self._engine = engine
        self._suite = MetricSuite(benchmarks=second.is_installed() and text.is_installed())

    def run(
        self, pairs: Sequence[Pair], variants: Sequence[BenchmarkVariant]
    ) -> Iterator[tuple[Pair, BenchmarkVariant, BenchmarkRow, Picture]]:
        """Yield the row and picture of each variant and pair; the pairs share UNet calls.

        Raises:
            InputError: an image cannot be used.
        """
        ready = [_PreparedPair(self._engine, self._suite, pair) for pair in pairs]
        for variant in variants:
            params = variant.params
            prepared = [one.images(variant, params) for one in ready]
            engine = StyleGallery(self._engine.models, self._engine.encoder)  # with empty caches
            begin = time.monotonic()
            jobs = [
                StyleJob(images[0], images[1:], engine.match(images[0], images[1:], params))
                for images in prepared
            ]
            made = engine.stylize_batch(jobs, params)
            seconds = (time.monotonic() - begin) / len(pairs)
            for one, stylized in zip(ready, made, strict=True):
                row = one.row(variant, stylized.picture, seconds)
                yield one.pair, variant, row, stylized.picture


class _PreparedPair:
    """One pair: its pictures, prepared once per method, and the metrics of its results."""

    def __init__(self, engine: StyleGallery, suite: MetricSuite, pair: Pair) -> None:
        self.pair = pair
        self._engine, self._suite = engine, suite
        self._pictures = [open_picture(path) for path in (pair.content, *pair.references)]
        self._references = [
            suite.reference_features(picture.pixels) for picture in self._pictures[1:]
        ]
        self._prepared: dict[str, list[PreparedImage]] = {}

    def images(self, variant: BenchmarkVariant, params: StyleParams) -> list[PreparedImage]:
        """Return the prepared content and references of a variant."""
        pictures = self._pictures[: 1 + variant.references]
        found = self._prepared.setdefault(params.method, [])
        found += [self._engine.prepare(picture, params) for picture in pictures[len(found) :]]
        return found[: len(pictures)]

    def row(self, variant: BenchmarkVariant, made: Picture, seconds: float) -> BenchmarkRow:
        """Return the row of a result; regional metrics use the default method's regions for all."""
        content, *styles = self.images(variant, StyleParams())
        regions = region_pairs(content, styles, self._engine.match(content, styles))
        references = self._references[: variant.references]
        scores = self._suite.score(made.pixels, self._pictures[0].pixels, references, regions)
        return BenchmarkRow(
            pair=self.pair.name,
            content=self.pair.content.stem,
            family=self.pair.family,
            method=variant.method,
            preset=variant.preset,
            references=variant.references,
            seconds=seconds,
            **scores.metrics,
        )


def region_pairs(
    content: PreparedImage, styles: Sequence[PreparedImage], routing: Correspondence
) -> list[RegionPair]:
    """Return each content region with the reference region that it is matched with."""
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


def _spread_index(number: int, size: int) -> int:
    """Return the number-th index below `size` in an order that puts neighbors far apart."""
    # A step near the golden section and coprime to the size visits all indices before it repeats.
    steps = [step for step in range(1, size + 1) if math.gcd(step, size) == 1]
    return number * min(steps, key=lambda step: abs(step - 0.618 * size)) % size


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
