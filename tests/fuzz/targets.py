"""The fuzzed readers: each takes bytes and returns a result or raises one of our own errors."""

import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from schemas.base import Row
from schemas.manifest import CatalogRow, GalleryRow
from stylegallery.errors import BadRouting, InputError
from stylegallery.images import codec, opening
from stylegallery.matching.correspondence import parse_pins
from stylegallery.regions import label_images
from tasks.errors import ManifestError
from tasks.manifests import reader
from tasks.manifests.parquet import read_batches
from tasks.manifests.rows import Rows, table_rows
from tasks.manifests.text import text_table
from tests.fuzz import seeds
from tests.sentences import MOST, violation

PLACE = "/data/m.parquet"
MAX_SECONDS = 5.0
MAX_GROWTH = 2**30
"""Maximum growth of the process's peak memory in bytes by one input."""
MAX_URI_SHOWN = 500
MAX_PIXELS = 4_000_000
"""Replaces the product's limit, to spend the time on many small images."""


class Finding(Exception):
    """A reader broke the rules."""


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: Function that reads bytes.
        refusals: Errors that it may raise.
        seeds: Good files to start from.
    """

    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: list[bytes]


def check(target: Target, data: bytes) -> str:
    """Read bytes; return `ok` or the error message.

    Raises:
        Finding: an unexpected error, a bad message, too much time or too much memory.
    """
    began, before = time.monotonic(), _largest()
    try:
        target.read(data)
        said = "ok"
    except target.refusals as error:
        said = str(error)
        if wrong := violation(said, most=MOST + MAX_URI_SHOWN):
            raise Finding(f"the message: {wrong}") from error
    except Exception as error:
        raise Finding(f"{type(error).__name__} came through: {error}") from error
    if (seconds := time.monotonic() - began) > MAX_SECONDS:
        raise Finding(f"it took {seconds:.1f} s")
    if (grown := _largest() - before) > MAX_GROWTH:
        raise Finding(f"it took {grown / 2**20:.0f} MB")
    return said


def targets() -> dict[str, Target]:
    """Return all readers by name; lowers the pixel limit of this process."""
    opening.MAX_PIXELS = MAX_PIXELS
    pictures, parquet = seeds.image_seeds(), seeds.parquet_seeds()
    return {
        "image": Target(_picture, (InputError,), pictures),
        "labels": Target(lambda d: label_images.decode_labels(d, "m.png"), (InputError,), pictures),
        "grey": Target(
            lambda d: label_images.decode_protection(d, "m.png"), (InputError,), pictures
        ),
        "note": Target(codec.read_note, (), pictures),
        "routing": Target(
            lambda d: parse_pins(d, ["a", "b"]), (BadRouting,), seeds.routing_seeds()
        ),
        "catalog": Target(_catalog, (ManifestError,), parquet),
        "galleries": Target(_galleries, (ManifestError,), parquet),
        "csv": Target(_text("/data/m.csv"), (ManifestError,), seeds.text_seeds()),
        "jsonl": Target(_text("/data/m.jsonl"), (ManifestError,), seeds.json_line_seeds()),
    }


def _picture(data: bytes) -> None:
    picture = codec.decode(data, "p.png")
    for part in (picture.pixels, picture.alpha):
        if part is not None and not (part.isfinite().all() and 0 <= part.min() <= part.max() <= 1):
            raise Finding("its pixels are not in [0, 1]")
    if picture.size[0] * picture.size[1] > MAX_PIXELS:
        raise Finding("it is larger than the limit")


def _catalog(data: bytes) -> None:
    _check(photo.problem for photo in _photos(read_batches(PLACE, data, CatalogRow)))


def _galleries(data: bytes) -> None:
    found = reader.check_galleries(PLACE, read_batches(PLACE, data, GalleryRow))
    _check(gallery.problem for gallery in found.values())


def _photos(rows: Iterable[Rows]) -> Iterator[reader.Photo]:
    return reader.check_catalog(PLACE, rows)


def _check(problems: Iterable[ManifestError | None]) -> None:
    """Check the error messages of unusable rows."""
    for problem in problems:
        if problem and (wrong := violation(str(problem), most=MOST + MAX_URI_SHOWN)):
            raise Finding(f"the message of a row: {wrong}")


def _text(place: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        model: type[Row] = GalleryRow if b"style_id" in data else CatalogRow
        found = text_table(place, data, model)
        rows = table_rows(place, found.table, found.numbers)
        if model is GalleryRow:
            galleries = reader.check_galleries(place, rows)
            _check(gallery.problem for gallery in galleries.values())
        else:
            _check(photo.problem for photo in _photos(rows))

    return read


def _largest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
