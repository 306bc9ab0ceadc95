"""Manifests made: a folder of images, a CSV or a JSON file becomes a Parquet manifest."""

from collections.abc import Sequence

import pyarrow as pa

from schemas.manifest import CatalogRow, GalleryRow
from schemas.text import counted
from tasks import storage
from tasks.errors import ManifestError
from tasks.manifests import reader
from tasks.manifests.rows import MAX_NAMED, combine_problems, table_rows
from tasks.manifests.sources import Notify, read_source
from tasks.records import parquet
from tasks.storage import uris


def _silent(_: str) -> None:
    pass


def build_catalog(src: str, notify: Notify = _silent, *, strict: bool = False) -> pa.Table:
    """Make a catalog of a folder, a CSV or a JSON file.

    In a folder, each sub-folder with images is a product, and the images in it are its views; a
    deeper folder's product is named by its path, slashes turned to dashes. Each image that lies in
    no sub-folder is the view `main` of a product of its own. URIs in the table are absolute. Rows
    that cannot be used are kept; a run rejects them.

    Args:
        src: The folder or file.
        tell: Is told what is left out, and which rows cannot be used.
        strict: Refuse what has a row that cannot be used.

    Raises:
        ManifestError: nothing is there, or a rule of the catalog is broken.
        StorageError: `src` cannot be read.
    """
    source = read_source(src, CatalogRow, notify)
    rows = table_rows(source.uri, source.table, source.numbers)
    photos = reader.check_catalog(source.uri, rows)
    problems = [photo.problem for photo in photos if photo.problem]
    _report_unusable(problems, "a run rejects this row until then", notify, strict=strict)
    return source.table


def build_galleries(src: str, notify: Notify = _silent, *, strict: bool = False) -> pa.Table:
    """Make galleries of a folder, a CSV or a JSON file.

    In a folder, each sub-folder is a gallery and the images at any depth in it are its
    references; images beside the sub-folders form one gallery named after the folder. URIs in the
    table are absolute. Rows that cannot be used are kept; a run rejects the items of their
    galleries.

    Args:
        src: The folder or file.
        tell: Is told what is left out, and which rows cannot be used.
        strict: Refuse what has a row that cannot be used.

    Raises:
        ManifestError: nothing is there, or a rule of galleries is broken.
        StorageError: `src` cannot be read.
    """
    source = read_source(src, GalleryRow, notify)
    rows = table_rows(source.uri, source.table, source.numbers)
    galleries = reader.check_galleries(source.uri, rows)
    problems = [problem for gallery in galleries.values() for problem in gallery.problems]
    _report_unusable(
        problems, "a run rejects the items of its gallery until then", notify, strict=strict
    )
    return source.table


def _report_unusable(
    problems: Sequence[ManifestError], consequence: str, notify: Notify, *, strict: bool
) -> None:
    """Tell of rows that cannot be used, one by one as far as that helps.

    Raises:
        ManifestError: there are some, and none may be; it names them all.
    """
    if strict and problems:
        raise combine_problems(problems)
    for problem in problems[:MAX_NAMED]:
        notify(f"{problem}; {consequence}")
    if (more := len(problems) - MAX_NAMED) > 0:
        notify(f"{counted(more, 'more row')} cannot be used")


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
    storage.write_bytes(out, parquet.to_bytes(table))
