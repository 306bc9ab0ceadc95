"""Read and check manifests: the catalog and the style galleries.

An invalid row is not left out: its items are rejected with the rule that it breaks. An invalid
table, or one without valid rows, raises a ManifestError.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from schemas.manifest import CatalogRow, GalleryRow
from schemas.text import one_line, short_repr
from schemas.work import rejected_item_id
from tasks import storage
from tasks.errors import ManifestError
from tasks.manifests.gallery import Galleries, Gallery
from tasks.manifests.parts import read_manifest
from tasks.manifests.rows import MAX_NAMED, Rows
from tasks.manifests.rules import CheckedRow, UniqueKeys, checked_rows
from tasks.manifests.values import Unusable

__all__ = ["Galleries", "Gallery", "ManifestError", "Photo", "read_catalog", "read_galleries"]

_MOST_CHARS = 200
_LABEL = 128
_NO_ROWS = "has no rows; add at least one"


@dataclass(frozen=True)
class Photo:
    """One catalog row.

    Attributes:
        number: Number of the row in the catalog, from 1.
        row: The row with absolute URIs; for an invalid row, the part of it that can be shown.
        extra: Extra columns as text.
        uri: URI of the row's file.
        file_row: Number of the row in that file, from 1.
        problem: The rule that an invalid row breaks; None for a valid row.
        digest: Hash of an invalid row as written; empty for a valid row.
    """

    number: int
    row: CatalogRow
    extra: dict[str, str]
    uri: str = ""
    file_row: int = 0
    problem: ManifestError | None = None
    digest: str = ""


def read_catalog(uri: str, *, strict: bool = False) -> Iterator[Photo]:
    """Read and check a catalog lazily; it may be larger than the memory.

    Args:
        uri: A manifest (see :func:`tasks.manifests.parts.read_manifest`).
        strict: Raise an error if a row is invalid.

    Raises:
        ManifestError: the catalog is missing, not in a supported format, breaks a rule as a whole,
            or has no valid row.
        StorageError: the catalog cannot be read.
    """
    place = storage.absolute(uri)
    return check_catalog(place, read_manifest(place, CatalogRow), strict=strict)


def check_catalog(uri: str, source: Iterable[Rows], *, strict: bool = False) -> Iterator[Photo]:
    """Check the rows of a catalog; relative URIs are resolved against `uri`.

    Raises:
        ManifestError: no row is valid or, if `strict`, a row is invalid.
    """
    keys, count, usable = UniqueKeys("product_id"), 0, 0
    first: ManifestError | None = None
    for count, checked in enumerate(checked_rows(uri, source, CatalogRow), 1):
        problem = checked.problem or _catalog_problem(checked, keys)
        if problem is None and checked.row is not None:
            usable += 1
            yield Photo(count, checked.row, checked.extra, checked.uri, checked.number)
        elif problem is not None:
            first = first or problem
            if strict:
                raise problem
            yield _unusable(count, checked, problem)
    _check_usable(uri, count, usable, first)


def _catalog_problem(checked: CheckedRow[CatalogRow], keys: UniqueKeys) -> ManifestError | None:
    row = checked.row
    if row is None:
        return None
    if row.galleries is not None and not row.galleries:
        rule = "is an empty list; name galleries, or leave it empty (null) for all"
        return ManifestError(checked.uri, "galleries", checked.number, rule)
    return keys.problem(checked.uri, checked.number, row.product_id, row.view)


def _unusable(number: int, checked: CheckedRow[CatalogRow], problem: ManifestError) -> Photo:
    values = {name: _as_text(value) for name, value in checked.values.items()}
    named = checked.values.get("galleries")
    galleries = [name for name in named if name] if isinstance(named, list) else []
    row = CatalogRow.model_construct(
        product_id=_shown_id(checked.values.get("product_id")) or f"row-{number}",
        view=_shown_id(checked.values.get("view")) or "main",
        image_uri=one_line(values.get("image_uri") or "", 500),
        galleries=galleries or None,
    )
    digest = rejected_item_id(number, values, checked.extra)
    return Photo(number, row, checked.extra, checked.uri, checked.number, problem, digest)


def _shown_id(value: Any) -> str:
    """Return an invalid id in the form in which results show it."""
    text = _as_text(value) or ""
    return one_line(text, _LABEL).strip() if text.strip(". ") else short_repr(text) if text else ""


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.text if isinstance(value, Unusable) else str(value)


def _check_usable(uri: str, count: int, usable: int, first: ManifestError | None) -> None:
    """Check that a manifest has a valid row.

    Raises:
        ManifestError: it has no rows, or no valid row.
    """
    if not count:
        raise ManifestError(uri, None, None, _NO_ROWS)
    if first and not usable:
        more = f" (none of the {count} rows can be used)" if count > 1 else ""
        raise ManifestError(first.uri, first.column, first.row, first.rule + more)


def read_galleries(
    uris: Sequence[str], only: Sequence[str] = (), *, strict: bool = False
) -> Galleries:
    """Read and check gallery manifests; the rows of a gallery may be in several manifests.

    Args:
        uris: The manifests (see :func:`tasks.manifests.parts.read_manifest`).
        only: Ids of the galleries to keep; empty keeps all.
        strict: Raise an error if a row is invalid.

    Raises:
        ManifestError: a manifest is missing, not in a supported format or breaks a rule as a whole;
            a gallery of `only` does not exist; or no gallery can be used.
        StorageError: a manifest cannot be read.
    """
    found: Galleries = {}
    keys = UniqueKeys("style_id")
    for uri in uris:
        place = storage.absolute(uri)
        _add_galleries(found, keys, place, read_manifest(place, GalleryRow), strict=strict)
    for gallery in found.values():
        gallery.complete()
    ordered = {name: found[name] for name in sorted(found)}
    return select_galleries(ordered, only, ", ".join(uris))


def check_galleries(uri: str, source: Iterable[Rows], *, strict: bool = False) -> Galleries:
    """Check the rows of one gallery manifest; relative URIs are resolved against `uri`.

    Raises:
        ManifestError: no gallery can be used; an invalid row has no gallery id; or, if `strict`, a
            row is invalid.
    """
    found: Galleries = {}
    _add_galleries(found, UniqueKeys("style_id"), uri, source, strict=strict)
    return select_galleries(found, (), uri)


def _add_galleries(
    found: Galleries, keys: UniqueKeys, uri: str, source: Iterable[Rows], *, strict: bool
) -> None:
    empty = True
    for checked in checked_rows(uri, source, GalleryRow):
        empty = False
        row, problem = checked.row, checked.problem
        if row is not None:
            problem = keys.problem(checked.uri, checked.number, row.gallery_id, row.style_id)
        name = row.gallery_id if row else _shown_id(checked.values.get("gallery_id"))
        if problem is not None and (strict or not name):
            raise problem  # the row may belong to any gallery
        gallery = found.setdefault(name, Gallery())
        if problem is not None:
            gallery.problems.append(problem)
        elif row is not None:
            gallery.add(row, checked.uri, checked.number)
    if empty:
        raise ManifestError(uri, None, None, _NO_ROWS)


def select_galleries(galleries: Galleries, only: Sequence[str], source: str) -> Galleries:
    """Return the galleries in `only`, or all if it is empty.

    Raises:
        ManifestError: a gallery of `only` does not exist, or no gallery can be used.
    """
    for name in only:
        if name not in galleries:
            there = _shorten_list(galleries)
            rule = f"has no gallery {short_repr(name)} (existing: {there}); correct `gallery_ids`"
            raise ManifestError(source, "gallery_id", None, rule)
    kept = {name: found for name, found in galleries.items() if not only or name in only}
    problems = [gallery.problem for gallery in kept.values() if gallery.problem]
    if problems and len(problems) == len(kept):
        raise problems[0]
    return kept


def check_gallery_names(photos: Iterable[Photo], galleries: Galleries) -> Iterator[Photo]:
    """Yield the photos, checking that the galleries in their rows exist.

    Raises:
        ManifestError: a gallery does not exist; names the row.
    """
    for photo in photos:
        for name in photo.row.galleries or ():
            if name not in galleries:
                raise unknown_gallery(photo, name, galleries)
        yield photo


def unknown_gallery(photo: Photo, name: str, galleries: Galleries) -> ManifestError:
    """Return the error of a photo whose row names a gallery that does not exist."""
    rule = f"names gallery {short_repr(name)}, which is in no gallery manifest"
    rule += f" (existing: {_shorten_list(galleries)}); correct the name or add the gallery"
    return ManifestError(photo.uri, "galleries", photo.file_row, rule)


def check_licenses(galleries: Galleries, source: str, today: date) -> None:
    """Check that each reference has a license that is valid on the day `today`.

    Raises:
        ManifestError: some references lack one; the message lists them.
    """
    offenders = []
    for gallery_id, gallery in galleries.items():
        for row in gallery.rows:
            name = f"{gallery_id}/{row.style_id}"
            if not (row.license or "").strip():
                offenders.append(f"{name} (no license)")
            elif row.valid_until and row.valid_until < today:
                offenders.append(f"{name} (expired {row.valid_until})")
    if offenders:
        rule = f"licenses are required, but {len(offenders)} references lack a valid one: "
        rule += f"{_shorten_list(offenders)}; add their licenses, or leave them out"
        raise ManifestError(source, "license", None, rule)


def _shorten_list(names: Iterable[str]) -> str:
    listed, named = list(names), list[str]()
    for name in listed[:MAX_NAMED]:
        if named and sum(map(len, named)) + len(name) > _MOST_CHARS:
            break
        named.append(name)
    more = len(listed) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")
