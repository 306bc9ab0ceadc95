"""Read the sources of manifests as tables: a folder of images, a CSV or a JSON file."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.base import Row
from schemas.manifest import GalleryRow
from schemas.text import counted
from tasks import storage
from tasks.manifests.photo_folders import PhotoFolder, find_photos, shorten_list
from tasks.manifests.photo_names import Ids, name_galleries_and_styles, name_products_and_views
from tasks.manifests.text import TEXT_ENDINGS, read_text

Notify = Callable[[str], None]
"""Receives a sentence about files that are left out or renamed."""


@dataclass(frozen=True)
class Source:
    """The rows of a future manifest.

    Attributes:
        uri: Absolute URI of the folder or file.
        table: The unchecked rows.
        numbers: Number of each row in the file, from 1; None if all rows are in the table.
    """

    uri: str
    table: pa.Table
    numbers: Sequence[int] | None = None


def is_text_file(uri: str) -> bool:
    """Tell from its suffix whether a URI names a CSV or JSON file."""
    return uri.lower().endswith(TEXT_ENDINGS)


def read_source(src: str, model: type[Row], notify: Notify) -> Source:
    """Read a folder of images, a CSV or a JSON file, without checking single rows.

    Args:
        src: The folder or file.
        model: Model of a row: CatalogRow or GalleryRow.
        notify: Receives a sentence for each thing left out or renamed.

    Raises:
        ManifestError: `src` does not exist, or is not of its format.
        StorageError: `src` cannot be read.
    """
    if is_text_file(src):
        text = read_text(src, model)
        return Source(storage.absolute(src), text.table, text.numbers)
    found = find_photos(src)
    if model is GalleryRow:
        own = unquote(found.uri.rstrip("/").rpartition("/")[2])
        ids, names = name_galleries_and_styles(found.images, own), ("gallery_id", "style_id")
    else:
        ids, names = name_products_and_views(found.images), ("product_id", "view")
    _notify(found, ids, notify)
    return Source(found.uri, _listed(found, ids, model, names))


def _listed(found: PhotoFolder, ids: Ids, model: type[Row], names: tuple[str, str]) -> pa.Table:
    """Return a table with two ids and the URI of each image, sorted by path."""
    records = [
        {**dict(zip(names, ids.by_path[path], strict=True)), "image_uri": uri}
        for path, uri in found.images.items()
    ]
    return _table(records, model, [*names, "image_uri"])


def _notify(found: PhotoFolder, ids: Ids, notify: Notify) -> None:
    if ids.renamed:
        notify(
            f"ids differ from file names: {counted(len(ids.renamed), 'image')} "
            f"({shorten_list(ids.renamed)}); names that would give the same id get a suffix"
        )
    encoded = [path for path, uri in found.images.items() if uri.startswith("file://")]
    if encoded:
        notify(
            f"named by file:// URI: {counted(len(encoded), 'image')} ({shorten_list(encoded)}); "
            "the name is not UTF-8 text; rename the file if manifest and images are to be moved "
            "together"
        )
    for note in found.notes():
        notify(note)


def _table(records: Iterable[dict[str, Any]], model: type[Row], names: list[str]) -> pa.Table:
    wanted = arrow_schema(model)
    fields = [
        wanted.field(name) if name in wanted.names else pa.field(name, pa.string())
        for name in names
    ]
    return pa.Table.from_pylist(list(records), schema=pa.schema(fields))
