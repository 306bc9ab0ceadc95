"""Manifests made: a folder of images, a CSV or a JSON Lines file becomes a Parquet manifest."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.base import Row
from schemas.manifest import CatalogRow, GalleryRow
from stylegallery.wording import counted
from tasks import manifests, storage, tables, uris
from tasks.manifest_checks import check_columns, check_count
from tasks.manifest_text import read_records, records_of
from tasks.photo_folders import PhotoFolder, find_photos, some
from tasks.photo_names import Ids, galleries_and_styles, products_and_views

_TEXT_ENDINGS = (".csv", ".jsonl", ".ndjson")

Tell = Callable[[str], None]
"""Takes a sentence on what a manifest leaves out, or on how it names something."""


def _silent(_: str) -> None:
    pass


def catalog_from(src: str, tell: Tell = _silent) -> pa.Table:
    """Make a catalog of a folder, a .csv or a .jsonl file.

    In a folder, each sub-folder with images is a product, and the images in it are its views; a
    deeper folder's product is named by its path, slashes turned to dashes. Each image that lies in
    no sub-folder is the view `main` of a product of its own. URIs in the table are absolute.

    Args:
        src: The folder or file.
        tell: Is told what is left out.

    Raises:
        ManifestError: nothing is there, or a rule of the catalog is broken.
        StorageError: `src` cannot be read.
    """
    if src.lower().endswith(_TEXT_ENDINGS):
        place, table = storage.absolute(src), _from_records(src, CatalogRow)
    else:
        found = find_photos(src)
        ids = products_and_views(found.images)
        place, table = found.uri, _listed(found, ids, CatalogRow, ("product_id", "view"))
        _tell_of(found, ids, tell)
    deque(manifests.catalog_of(place, table.to_batches()), maxlen=0)  # raises what is wrong
    return table


def gallery_from(src: str, tell: Tell = _silent) -> pa.Table:
    """Make galleries of a folder, a .csv or a .jsonl file.

    In a folder, each sub-folder is a gallery and the images at any depth in it are its
    references; images beside the sub-folders form one gallery named after the folder. URIs in the
    table are absolute.

    Args:
        src: The folder or file.
        tell: Is told what is left out.

    Raises:
        ManifestError: nothing is there, or a rule of galleries is broken.
        StorageError: `src` cannot be read.
    """
    if src.lower().endswith(_TEXT_ENDINGS):
        place, table = storage.absolute(src), _from_records(src, GalleryRow)
    else:
        found = find_photos(src)
        own = unquote(found.uri.rstrip("/").rpartition("/")[2])
        ids = galleries_and_styles(found.images, own)
        place, table = found.uri, _listed(found, ids, GalleryRow, ("gallery_id", "style_id"))
        _tell_of(found, ids, tell)
    manifests.galleries_of(place, table.to_batches())
    return table


def write_manifest(table: pa.Table, out: str) -> None:
    """Write a manifest; URIs below its folder become relative, so that the two move together.

    Raises:
        StorageError: it cannot be written.
    """
    shorten = uris.shortener(out)
    for index, name in enumerate(table.schema.names):
        if name.endswith("_uri") and pa.types.is_string(table.schema.field(name).type):
            short = [uri and shorten(uri) for uri in table.column(name).to_pylist()]
            table = table.set_column(index, table.schema.field(name), pa.array(short, pa.string()))
    storage.write_bytes(out, tables.to_bytes(table))


def _listed(found: PhotoFolder, ids: Ids, model: type[Row], names: tuple[str, str]) -> pa.Table:
    """Return one row for each image: two ids and its URI, in order of path."""
    records = [
        {**dict(zip(names, ids.by_path[path], strict=True)), "image_uri": uri}
        for path, uri in found.images.items()
    ]
    return _table(records, model, [*names, "image_uri"])


def _tell_of(found: PhotoFolder, ids: Ids, tell: Tell) -> None:
    if ids.renamed:
        tell(
            f"kept apart: {counted(len(ids.renamed), 'image')} ({some(ids.renamed)}); where names "
            "are alike, ids end in the file's ending or a number"
        )
    encoded = [path for path, uri in found.images.items() if uri.startswith("file://")]
    if encoded:
        tell(
            f"named by file:// URI: {counted(len(encoded), 'image')} ({some(encoded)}); the name "
            "is not UTF-8 text, so rename if the manifest is to move together with the images"
        )
    for note in found.notes():
        tell(note)


def _from_records(src: str, model: type[Row]) -> pa.Table:
    return _checked(storage.absolute(src), read_records(src, model), model)


def table_of(place: str, data: bytes, model: type[Row]) -> pa.Table:
    """Make a table of the bytes of a .csv or .jsonl file; rules of single rows are not checked.

    Raises:
        ManifestError: they are not of the format, or a column is missing or of the wrong type.
    """
    return _checked(place, records_of(place, data, model), model)


def _checked(place: str, records: list[dict[str, Any]], model: type[Row]) -> pa.Table:
    names = list(dict.fromkeys(name for record in records for name in record))
    check_count(place, len(names))
    table = _table(records, model, names)
    check_columns(place, table.schema, model)
    return table


def _table(records: Iterable[dict[str, Any]], model: type[Row], names: list[str]) -> pa.Table:
    wanted = arrow_schema(model)
    fields = [
        wanted.field(name) if name in wanted.names else pa.field(name, pa.string())
        for name in names
    ]
    return pa.Table.from_pylist(list(records), schema=pa.schema(fields))
