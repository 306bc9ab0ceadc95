"""Open a manifest: a file, a folder of images, or a folder of Parquet parts as Spark writes it."""

import logging
import posixpath
import re
from collections.abc import Iterator
from itertools import chain
from urllib.parse import unquote

from schemas.base import Row
from tasks.errors import FileMissing, FileTooLarge, ManifestError
from tasks.manifests.parquet import MAX_BYTES, read_batches
from tasks.manifests.rows import Rows, table_rows
from tasks.manifests.rules import check_columns
from tasks.manifests.sources import is_text_file, read_source
from tasks.storage import StoragePath
from tasks.storage.transient import read_and_decode

logger = logging.getLogger(__name__)

_ENDINGS = (".parquet", ".parq", ".pq")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def read_manifest(uri: str, model: type[Row]) -> Iterator[Rows]:
    """Open a manifest, check its columns, and yield its rows.

    A manifest is a Parquet file, a folder of Parquet files, a CSV or JSON file, or a folder of
    images whose sub-folders are products or galleries.

    The parts of a folder are opened one by one, sorted by name; the columns of a part are checked
    when it is opened. Folders named `name=value` (Hive partitions) become columns.

    Args:
        uri: Absolute URI of the file or folder.
        model: Model of a row.

    Raises:
        ManifestError: it is missing, too large, not in a supported format, or lacks a column.
        StorageError: it cannot be read.
    """
    if is_text_file(uri):
        return _made_from(uri, model)
    root = StoragePath.parse(uri)
    try:
        return _batches(root, model)
    except FileMissing as error:
        listed = root.list_files()
        if any(path.startswith("_delta_log/") for path in listed):
            rule = "is a Delta table, whose files also contain deleted rows; export it "
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
    first = _open(root, parts[0], model)
    rest = (_open(root, path, model) for path in parts[1:])
    return chain(first, chain.from_iterable(rest))


def _made_from(uri: str, model: type[Row]) -> Iterator[Rows]:
    source = read_source(uri, model, logger.warning)
    check_columns(uri, source.table.schema, model)
    return table_rows(source.uri, source.table, source.numbers)


def _open(root: StoragePath, path: str, model: type[Row]) -> Iterator[Rows]:
    file = root / path
    try:
        return _batches(file, model, _partition(path))
    except FileMissing as error:
        rule = "was deleted while the manifest was read; run the same command again"
        raise ManifestError(file.uri, None, None, rule) from error
    except FileTooLarge as error:
        raise _too_large(root.uri) from error


def _batches(
    file: StoragePath, model: type[Row], constants: dict[str, str | None] | None = None
) -> Iterator[Rows]:
    return read_and_decode(
        file.uri,
        lambda: file.read_bytes(MAX_BYTES),
        lambda data: read_batches(file.uri, data, model, constants),
        (ManifestError,),
    )


def _parts(listed: dict[str, int]) -> list[str]:
    """Return the data files of a folder, without markers, indexes and checksums of writers."""
    seen = [path for path in listed if not any(map(_is_metadata, path.split("/")))]
    named = [path for path in seen if path.lower().endswith(_ENDINGS)]
    if not named and not any("." in posixpath.basename(path) for path in seen):
        named = seen  # Hive and Trino write names without suffix
    return sorted(named, key=_natural_key)


def _is_metadata(name: str) -> bool:
    return not name or name.startswith(".") or (name.startswith("_") and "=" not in name)


def _natural_key(path: str) -> list[tuple[int, str]]:
    """Return a sort key that puts part.2 before part.10."""
    pieces = re.split(r"(\d+)", path)
    return [(int(piece[:18]) if piece.isdecimal() else 0, piece) for piece in pieces]


def _partition(path: str) -> dict[str, str | None]:
    """Return the columns of a part's Hive partition folders, `name=value`."""
    found: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if equals and name:
            found[unquote(name)] = None if value == _HIVE_NULL else unquote(value)
    return found


def _too_large(uri: str) -> ManifestError:
    rule = f"is larger than {MAX_BYTES / 2**20:.0f} MB; split it into several files"
    return ManifestError(uri, None, None, rule)
