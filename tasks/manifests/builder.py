"""Build Parquet manifests from a folder of images, a CSV or a JSON file."""

from collections.abc import Sequence

import pyarrow as pa

from schemas.manifest import CatalogRow, GalleryRow
from schemas.text import counted
from tasks.errors import ManifestError
from tasks.manifests import reader
from tasks.manifests.rows import MAX_NAMED, combine_problems, table_rows
from tasks.manifests.sources import Notify, read_source
from tasks.records import parquet
from tasks.storage import StoragePath, uris


def _silent(_: str) -> None:
    pass


def build_catalog(src: str, notify: Notify = _silent, *, strict: bool = False) -> pa.Table:
    """Build a catalog from a folder, a CSV or a JSON file.

    In a folder, each sub-folder with images is a product, and its images are the product's views;
    the id of a nested folder is its path with dashes instead of slashes. An image outside all
    sub-folders is the view `main` of a product of its own. URIs in the table are absolute. Invalid
    rows are kept; a run rejects them.

    Args:
        src: The folder or file.
        notify: Receives a sentence for each thing left out and each invalid row.
        strict: Raise an error if a row is invalid.

    Raises:
        ManifestError: `src` does not exist, or breaks a rule of catalogs.
        StorageError: `src` cannot be read.
    """
    source = read_source(src, CatalogRow, notify)
    rows = table_rows(source.uri, source.table, source.numbers)
    photos = reader.check_catalog(source.uri, rows)
    problems = [photo.problem for photo in photos if photo.problem]
    _report_unusable(problems, "until then, a run rejects this row", notify, strict=strict)
    return source.table


def build_galleries(src: str, notify: Notify = _silent, *, strict: bool = False) -> pa.Table:
    """Build galleries from a folder, a CSV or a JSON file.

    In a folder, each sub-folder is a gallery, and all images below it are its references; images
    outside the sub-folders form one gallery named after the folder. URIs in the table are absolute.
    Invalid rows are kept; a run rejects the items of their galleries.

    Args:
        src: The folder or file.
        notify: Receives a sentence for each thing left out and each invalid row.
        strict: Raise an error if a row is invalid.

    Raises:
        ManifestError: `src` does not exist, or breaks a rule of galleries.
        StorageError: `src` cannot be read.
    """
    source = read_source(src, GalleryRow, notify)
    rows = table_rows(source.uri, source.table, source.numbers)
    galleries = reader.check_galleries(source.uri, rows)
    problems = [problem for gallery in galleries.values() for problem in gallery.problems]
    _report_unusable(
        problems, "until then, a run rejects the items of its gallery", notify, strict=strict
    )
    return source.table


def _report_unusable(
    problems: Sequence[ManifestError], consequence: str, notify: Notify, *, strict: bool
) -> None:
    """Report the first MAX_NAMED invalid rows one by one, and the number of the others.

    Raises:
        ManifestError: `strict` is set and a row is invalid; the message names all of them.
    """
    if strict and problems:
        raise combine_problems(problems)
    for problem in problems[:MAX_NAMED]:
        notify(f"{problem}; {consequence}")
    if (more := len(problems) - MAX_NAMED) > 0:
        notify(f"{counted(more, 'more row')} cannot be used")


def write_manifest(table: pa.Table, out: str) -> None:
    """Write a manifest; URIs below its folder become relative, so both can be moved together.

    Raises:
        StorageError: the manifest cannot be written.
    """
    shorten = uris.shortener(out)
    for index, name in enumerate(table.schema.names):
        if name.endswith("_uri") and pa.types.is_string(table.schema.field(name).type):
            short = [uri and shorten(uri) for uri in table.column(name).to_pylist()]
            table = table.set_column(index, table.schema.field(name), pa.array(short, pa.string()))
    StoragePath.parse(out).write_bytes(parquet.to_bytes(table))
