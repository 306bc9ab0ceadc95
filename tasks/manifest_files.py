"""Manifests made: a folder of images, a CSV or a JSON Lines file becomes a Parquet manifest."""

import hashlib
import logging
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.base import Row
from schemas.manifest import UNSEEN, CatalogRow, GalleryRow
from stylegallery.wording import has_unseen, shown
from tasks import manifests, storage, tables
from tasks.errors import ManifestError
from tasks.manifest_rows import MAX_NAMED, all_in_one, rows_of
from tasks.manifest_text import TEXT_ENDINGS, read_text

IMAGE_ENDINGS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What the engine opens."""
_MAX_ID = 100

logger = logging.getLogger(__name__)


def catalog_from(src: str, *, strict: bool = False) -> pa.Table:
    """Make a catalog of a folder (each image one product), a CSV or a JSON file.

    In a folder, the product's id is the path of its image below the folder, without the ending,
    slashes turned to dashes. URIs in the table are absolute. Rows that cannot be used are kept and
    named in the log; a run rejects them.

    Args:
        src: The folder or file.
        strict: Refuse what has a row that cannot be used.

    Raises:
        ManifestError: nothing is there, or a rule of the catalog is broken.
        StorageError: `src` cannot be read.
    """
    place, numbers = storage.absolute(src), None
    if src.lower().endswith(TEXT_ENDINGS):
        found = read_text(src, CatalogRow)
        table, numbers = found.table, found.numbers
    else:
        paths = _image_paths(src)
        names = _distinct(paths)
        records = [
            {"product_id": name, "view": "main", "image_uri": storage.join(place, path)}
            for name, path in zip(names, paths, strict=True)
        ]
        table = _table(records, CatalogRow, ["product_id", "view", "image_uri"])
    photos = manifests.catalog_of(place, rows_of(place, table, numbers))
    problems = [photo.problem for photo in photos if photo.problem]
    _tell(problems, "a run rejects this row until then", strict=strict)
    return table


def gallery_from(src: str, *, strict: bool = False) -> pa.Table:
    """Make galleries of a folder, a CSV or a JSON file.

    In a folder, each sub-folder is a gallery and the images at any depth in it are its
    references; images beside the sub-folders form one gallery named after the folder. URIs in the
    table are absolute. Rows that cannot be used are kept and named in the log; a run rejects the
    items of their galleries.

    Args:
        src: The folder or file.
        strict: Refuse what has a row that cannot be used.

    Raises:
        ManifestError: nothing is there, or a rule of galleries is broken.
        StorageError: `src` cannot be read.
    """
    place, numbers = storage.absolute(src), None
    if src.lower().endswith(TEXT_ENDINGS):
        found = read_text(src, GalleryRow)
        table, numbers = found.table, found.numbers
    else:
        folders: dict[str, list[str]] = {}
        for path in _image_paths(src):
            head, slash, _ = path.partition("/")
            folders.setdefault(head if slash else "", []).append(path)
        own = _clean(posixpath.basename(place)) or "gallery"
        records = [
            {"gallery_id": _clean(folder) or own, "style_id": name, "image_uri": path}
            for folder, paths in sorted(folders.items())
            for name, path in zip(
                _distinct([p.removeprefix(f"{folder}/") for p in paths]),
                [storage.join(place, p) for p in paths],
                strict=True,
            )
        ]
        table = _table(records, GalleryRow, ["gallery_id", "style_id", "image_uri"])
    galleries = manifests.galleries_of(place, rows_of(place, table, numbers))
    problems = [problem for gallery in galleries.values() for problem in gallery.problems]
    _tell(problems, "a run rejects the items of its gallery until then", strict=strict)
    return table


def _tell(problems: Sequence[ManifestError], consequence: str, *, strict: bool) -> None:
    """Log rows that cannot be used, one by one as far as that helps.

    Raises:
        ManifestError: there are some, and none may be; it names them all.
    """
    if strict and problems:
        raise all_in_one(problems)
    for problem in problems[:MAX_NAMED]:
        logger.warning("%s; %s", problem, consequence)
    if (more := len(problems) - MAX_NAMED) > 0:
        logger.warning("%d more rows cannot be used", more)


def write_manifest(table: pa.Table, out: str) -> None:
    """Write a manifest; URIs below its folder become relative, so that the two move together.

    Raises:
        StorageError: it cannot be written.
    """
    base = storage.parent(out) + "/"
    for index, name in enumerate(table.schema.names):
        if name.endswith("_uri") and pa.types.is_string(table.schema.field(name).type):
            short = [uri and uri.removeprefix(base) for uri in table.column(name).to_pylist()]
            table = table.set_column(index, table.schema.field(name), pa.array(short, pa.string()))
    storage.write_bytes(out, tables.to_bytes(table))


def _image_paths(src: str) -> list[str]:
    paths = [
        path
        for path in storage.list_files(src)
        if posixpath.splitext(path)[1].lower() in IMAGE_ENDINGS
        and not any(part.startswith(".") for part in path.split("/"))
    ]
    for path in filter(has_unseen, paths):
        rule = f"holds the file {shown(path)}, whose name has control characters; rename it"
        raise ManifestError(storage.absolute(src), None, None, rule)
    if not paths:
        rule = f"holds no images ({', '.join(IMAGE_ENDINGS)}); give a folder with some, "
        rule += "a .csv or a .jsonl file"
        raise ManifestError(storage.absolute(src), None, None, rule)
    return paths


def _clean(name: str) -> str:
    """Return `name` as an id: one path segment, not too long, still telling."""
    text = re.sub(rf"[{UNSEEN}/\\]+", "-", name)
    if text and not text.strip("."):
        return text.replace(".", "-")
    if len(text.encode()) <= _MAX_ID:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text.encode()[: _MAX_ID - 9].decode(errors='ignore')}-{digest}"


def _distinct(paths: list[str]) -> list[str]:
    """Return an id for each path: its stem, with the ending where two stems are alike."""
    stems = [_clean(posixpath.splitext(path)[0]) for path in paths]
    counts = Counter(stems)
    taken = {stem for stem in stems if counts[stem] == 1}
    names = []
    for stem, path in zip(stems, paths, strict=True):
        name = stem
        if counts[stem] > 1:
            name = f"{stem}-{posixpath.splitext(path)[1][1:].lower()}"
            number = 2
            while name in taken:
                name = f"{stem}-{number}"
                number += 1
            taken.add(name)
        names.append(name)
    return names


def _table(records: Iterable[dict[str, Any]], model: type[Row], names: list[str]) -> pa.Table:
    wanted = arrow_schema(model)
    fields = [
        wanted.field(name) if name in wanted.names else pa.field(name, pa.string())
        for name in names
    ]
    return pa.Table.from_pylist(list(records), schema=pa.schema(fields))
