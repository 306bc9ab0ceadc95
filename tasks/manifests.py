"""Manifests in: the catalog and the style galleries, read, checked and made absolute."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from schemas.base import Row
from schemas.manifest import CatalogRow, GalleryRow
from stylegallery.wording import shown
from tasks import storage
from tasks.errors import FileMissing, FileTooLarge, ManifestError
from tasks.manifest_checks import Unique, checked_rows
from tasks.manifest_parquet import MAX_BYTES, batches_of

__all__ = ["Galleries", "ManifestError", "Photo", "read_catalog", "read_galleries"]

Galleries = dict[str, list[GalleryRow]]
"""gallery_id to its references in order of style_id."""

TOO_LARGE = f"is larger than {MAX_BYTES / 2**20:.0f} MB; split it into several"
_MOST_NAMED = 20
_MOST_CHARS = 200


@dataclass(frozen=True)
class Photo:
    """One catalog row: its number from 1, the row with absolute URIs, further columns as text."""

    number: int
    row: CatalogRow
    extra: dict[str, str]


def read_catalog(uri: str) -> Iterator[Photo]:
    """Read and check a catalog, row by row: it may be larger than the memory.

    Raises:
        ManifestError: it is missing, no Parquet, or breaks a rule; see the message.
        StorageError: it cannot be read.
    """
    return catalog_of(storage.absolute(uri), _batches(uri, CatalogRow))


def catalog_of(uri: str, batches: Iterable[pa.RecordBatch]) -> Iterator[Photo]:
    """Check the rows of a catalog; relative URIs resolve against `uri`.

    Raises:
        ManifestError: a row breaks a rule.
    """
    keys = Unique(uri, "product_id")
    for number, row, extra in checked_rows(uri, batches, CatalogRow):
        keys.check(number, row.product_id, row.view)
        if row.galleries is not None and not row.galleries:
            rule = "is an empty list; name galleries, or leave it empty (null) for all"
            raise ManifestError(uri, "galleries", number, rule)
        yield Photo(number, row, extra)


def read_galleries(uris: Sequence[str], only: Sequence[str] = ()) -> Galleries:
    """Read and check gallery manifests; a gallery may be spread over several.

    Args:
        uris: The manifests.
        only: Ids of the galleries to keep; empty keeps all.

    Raises:
        ManifestError: one is missing, no Parquet, breaks a rule, or lacks a gallery of `only`.
        StorageError: one cannot be read.
    """
    found: Galleries = {}
    known = set[tuple[str, str]]()
    for uri in uris:
        rows = galleries_of(storage.absolute(uri), _batches(uri, GalleryRow))
        for row in rows:
            gallery = found.setdefault(row.gallery_id, [])
            if (row.gallery_id, row.style_id) in known:
                rule = f"{shown(row.style_id)} of gallery {shown(row.gallery_id)} is in two"
                rule += " manifests"
                raise ManifestError(uri, "style_id", None, f"{rule}; remove it from one")
            known.add((row.gallery_id, row.style_id))
            gallery.append(row)
    ordered = {name: sorted(found[name], key=lambda r: r.style_id) for name in sorted(found)}
    return select(ordered, only, ", ".join(uris))


def galleries_of(uri: str, batches: Iterable[pa.RecordBatch]) -> list[GalleryRow]:
    """Check the rows of one gallery manifest; relative URIs resolve against `uri`.

    Raises:
        ManifestError: a row breaks a rule.
    """
    keys = Unique(uri, "style_id")
    rows = []
    for number, row, _ in checked_rows(uri, batches, GalleryRow):
        keys.check(number, row.gallery_id, row.style_id)
        rows.append(row)
    return rows


def select(galleries: Galleries, only: Sequence[str], source: str) -> Galleries:
    """Keep the galleries named in `only`, or all when it is empty.

    Raises:
        ManifestError: a name in `only` is no gallery.
    """
    for name in only:
        if name not in galleries:
            rule = f"has no gallery {shown(name)} (there: {_some(galleries)}); correct `only`"
            raise ManifestError(source, "gallery_id", None, rule)
    return {name: rows for name, rows in galleries.items() if not only or name in only}


def check_routes(uri: str, photos: Iterable[Photo], galleries: Galleries) -> Iterator[Photo]:
    """Pass the photos of a catalog on, as long as they name galleries that exist.

    Raises:
        ManifestError: one does not; names the row.
    """
    for photo in photos:
        for name in photo.row.galleries or ():
            if name not in galleries:
                rule = f"names gallery {shown(name)}, which no gallery manifest has"
                rule += f" (there: {_some(galleries)}); correct the name or add the gallery"
                raise ManifestError(uri, "galleries", photo.number, rule)
        yield photo


def check_licenses(galleries: Galleries, source: str, today: date) -> None:
    """Refuse references without a licence or past their last day.

    Raises:
        ManifestError: there are some; lists them.
    """
    offenders = []
    for gallery_id, rows in galleries.items():
        for row in rows:
            name = f"{gallery_id}/{row.style_id}"
            if not (row.license or "").strip():
                offenders.append(f"{name} (no licence)")
            elif row.valid_until and row.valid_until < today:
                offenders.append(f"{name} (expired {row.valid_until})")
    if offenders:
        rule = f"licences are required, but {len(offenders)} references lack a valid one: "
        rule += f"{_some(offenders)}; add their licences, or leave them out"
        raise ManifestError(source, "license", None, rule)


def _some(names: Iterable[str]) -> str:
    listed, named = list(names), list[str]()
    for name in listed[:_MOST_NAMED]:
        if named and sum(map(len, named)) + len(name) > _MOST_CHARS:
            break
        named.append(name)
    more = len(listed) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _batches(uri: str, model: type[Row]) -> Iterable[pa.RecordBatch]:
    """Open a manifest and check its columns now; its rows are read when they are asked for."""
    place = storage.absolute(uri)
    try:
        data = storage.read_bytes(place, MAX_BYTES)
    except FileMissing as error:
        rule = "not found; give one Parquet file (`stylegallery manifest` makes it from a folder, "
        raise ManifestError(place, None, None, rule + "CSV or JSON Lines)") from error
    except FileTooLarge as error:
        raise ManifestError(place, None, None, TOO_LARGE) from error
    return batches_of(place, data, model)
