"""A folder of Parquet parts as one manifest, as Spark, Ray Data, Polars, dask and Hive write it."""

import logging
import posixpath
import re
from collections.abc import Iterator
from urllib.parse import unquote

from schemas.base import Row
from tasks import storage
from tasks.errors import FileMissing, FileTooLarge, ManifestError
from tasks.manifest_checks import check_columns
from tasks.manifest_parquet import MAX_BYTES, batches_of
from tasks.manifest_rows import Rows, rows_of
from tasks.manifest_sources import is_text, read_source
from tasks.retry import read_twice

logger = logging.getLogger(__name__)

_ENDINGS = (".parquet", ".parq", ".pq")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def read_manifest(uri: str, model: type[Row]) -> Iterator[Rows]:
    """Open a manifest, or what one is made from, and check its columns as far as it is open now.

    That is a Parquet file or a folder of them; a CSV or JSON file; or a folder of images, whose
    sub-folders are products or galleries.

    The parts of a folder are opened one after the other, in the order of their names; what is in
    folders called `name=value` becomes a column.

    Args:
        uri: Absolute URI of the file or folder.
        model: What a row should be.

    Raises:
        ManifestError: it is missing, too large, no Parquet, or lacks a column.
        StorageError: it cannot be read.
    """
    if is_text(uri):
        return _made_from(uri, model)
    try:
        return _batches(uri, model)
    except FileMissing as error:
        listed = storage.list_files(uri)
        if any(path.startswith("_delta_log/") for path in listed):
            rule = "is a Delta table, whose folder also holds rows that were deleted; export it "
            raise ManifestError(uri, None, None, f"{rule}as Parquet") from error
        parts = _parts(listed)
        if not parts:
            if listed:
                return _made_from(uri, model)
            rule = "not found; give a Parquet, CSV or JSON file, a folder of Parquet files, or a "
            raise ManifestError(uri, None, None, f"{rule}folder of images") from error
    except FileTooLarge as error:
        raise _too_large(uri) from error
    if sum(listed[path] for path in parts) > MAX_BYTES:
        raise _too_large(uri)
    first = _open(uri, parts[0], model)
    return _chained(uri, first, parts[1:], model)


def _made_from(uri: str, model: type[Row]) -> Iterator[Rows]:
    source = read_source(uri, model, logger.warning)
    check_columns(uri, source.table.schema, model)
    return rows_of(source.uri, source.table, source.numbers)


def _chained(uri: str, first: Iterator[Rows], rest: list[str], model: type[Row]) -> Iterator[Rows]:
    yield from first
    for path in rest:
        yield from _open(uri, path, model)


def _open(uri: str, path: str, model: type[Row]) -> Iterator[Rows]:
    place = storage.join(uri, path)
    try:
        return _batches(place, model, _partition(path))
    except FileMissing as error:
        rule = "went away while the manifest was read; run the same command again"
        raise ManifestError(place, None, None, rule) from error
    except FileTooLarge as error:
        raise _too_large(uri) from error


def _batches(
    place: str, model: type[Row], constants: dict[str, str | None] | None = None
) -> Iterator[Rows]:
    return read_twice(
        place,
        lambda: storage.read_bytes(place, MAX_BYTES),
        lambda data: batches_of(place, data, model, constants),
        (ManifestError,),
    )


def _parts(listed: dict[str, int]) -> list[str]:
    """Return the data files of a folder: no marks, indexes or checksums that writers leave."""
    seen = [path for path in listed if not any(map(_is_aside, path.split("/")))]
    named = [path for path in seen if path.lower().endswith(_ENDINGS)]
    if not named and not any("." in posixpath.basename(path) for path in seen):
        named = seen  # Hive and Trino give no ending
    return sorted(named, key=_natural)


def _is_aside(name: str) -> bool:
    return not name or name.startswith(".") or (name.startswith("_") and "=" not in name)


def _natural(path: str) -> list[tuple[int, str]]:
    """Sort part.2 before part.10."""
    pieces = re.split(r"(\d+)", path)
    return [(int(piece[:18]) if piece.isdecimal() else 0, piece) for piece in pieces]


def _partition(path: str) -> dict[str, str | None]:
    """Return the columns that the folders of a part tell, as Hive writes them."""
    found: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if equals and name:
            found[unquote(name)] = None if value == _HIVE_NULL else unquote(value)
    return found


def _too_large(uri: str) -> ManifestError:
    rule = f"is larger than {MAX_BYTES / 2**20:.0f} MB; split it into several"
    return ManifestError(uri, None, None, rule)
