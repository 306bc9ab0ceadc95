"""Expand photos times galleries into the items of a run, as tables of at most 20,000 rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.gallery_params import gallery_params
from schemas.manifest import GalleryRow
from schemas.run import RestyleSpec
from schemas.text import one_line
from schemas.work import (
    ItemIds,
    PlannedItem,
    StyleSource,
    derived_seed,
    rejected_item_id,
)
from tasks.manifests.reader import Galleries, Photo, unknown_gallery
from tasks.planning.versions import source_versions
from tasks.records.plan_parts import PlanItems

_BATCH = 20_000
_BATCH_TEXT = 2**24
"""Largest number of characters of extra columns in a batch, and so in a part of a plan."""
_PART_TEXT = 2**25
"""Largest number of characters that paths of references' region maps take in a results part."""
_MAP_TEXT = 80
"""Length of such a path in characters."""
_SCHEMA = arrow_schema(PlannedItem)
_URIS = ("image_uri", "mask_uri", "protect_uri", "routing_uri")
_MOST_SENTENCE = 1000


@dataclass(frozen=True)
class _Rejected:
    """An item that cannot be computed.

    Attributes:
        photo: Its catalog row.
        gallery_id: The gallery.
        item_id: Hash of the manifest rows.
        problem: One sentence that names the cause and the remedy.
    """

    photo: Photo
    gallery_id: str
    item_id: str
    problem: str


def expand(
    items: PlanItems,
    photos: Iterable[Photo],
    galleries: Galleries,
    known: Galleries,
    spec: RestyleSpec,
    fingerprint: str,
) -> int:
    """Add the items of a run to a plan, and return the number of photos in the catalog.

    Tables have the columns of PlannedItem and are filled column by column: a million objects would
    take more time and memory than the rest of planning. `spec.limit` counts items photo by photo,
    so the first photos get all their galleries.

    Args:
        items: The plan.
        photos: The catalog. Photos beyond the limit are checked and counted as well.
        galleries: The selected galleries.
        known: All galleries of the manifests.
        spec: Parameters of the run.
        fingerprint: Fingerprint of the engine.

    Raises:
        StorageError: a store is unavailable.
    """
    left, count = spec.limit or None, 0
    shared: dict[str, _Gallery] = {}
    for batch in _batches(photos):
        count += len(batch)
        if left == 0:
            continue
        pairs = (
            (photo, name)
            for photo in batch
            for name in _requested_galleries(photo, galleries, known)
        )
        members: dict[str, list[Photo]] = {}
        rejected = []
        for photo, name in islice(pairs, left):
            left = left and left - 1
            if found := _rejection(photo, name, known):
                rejected.append(found)
            else:
                members.setdefault(name, []).append(photo)
        _add(items, members, galleries, shared, spec, fingerprint)
        if rejected:
            items.add_rejected(_rejected_table(rejected, spec))
    return count


def _batches(photos: Iterable[Photo]) -> Iterator[list[Photo]]:
    batch, size = list[Photo](), 0
    for photo in photos:
        batch.append(photo)
        size += sum(map(len, photo.extra.values()))
        if len(batch) >= _BATCH or size >= _BATCH_TEXT:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _requested_galleries(photo: Photo, galleries: Galleries, known: Galleries) -> Iterator[str]:
    """Yield the selected galleries of a photo, then the unknown galleries that its row names.

    An unknown name may be a misspelt selected one, so the photo's item is rejected, not left out.
    """
    named = photo.row.galleries
    for name in galleries:
        if named is None or name in named:
            yield name
    yield from (name for name in dict.fromkeys(named or ()) if name not in known)


def _rejection(photo: Photo, name: str, known: Galleries) -> _Rejected | None:
    row = photo.row
    if photo.problem:
        item_id = rejected_item_id(photo.digest, name)
        return _Rejected(photo, name, item_id, str(photo.problem))
    if name not in known:
        problem = unknown_gallery(photo, name, known)
        item_id = rejected_item_id(photo.number, row.product_id, row.view, name)
        return _Rejected(photo, name, item_id, str(problem))
    if flaw := known[name].problem:
        own = (photo.number, row.product_id, row.view, name)
        item_id = rejected_item_id(*own, flaw.column, flaw.row)
        what = "the settings" if flaw.column in ("method", "preset") else "a reference"
        sentence = f"{what} of its gallery cannot be used: {flaw}"
        return _Rejected(photo, name, item_id, sentence)
    return None


def _rejected_table(rejected: list[_Rejected], spec: RestyleSpec) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "item_id": [found.item_id for found in rejected],
        "product_id": [found.photo.row.product_id for found in rejected],
        "view": [found.photo.row.view for found in rejected],
        "gallery_id": [one_line(found.gallery_id, 128) for found in rejected],
        "image_uri": [found.photo.row.image_uri for found in rejected],
        "image_version": [""] * len(rejected),
        "seed": [derived_seed(found.item_id) for found in rejected],
        "image_format": [spec.image_format] * len(rejected),
        "quality": [spec.quality] * len(rejected),
        "extra": [list(found.photo.extra.items()) for found in rejected],
        "problem": [one_line(found.problem, _MOST_SENTENCE) for found in rejected],
    }
    nothing = [None] * len(rejected)
    made = [
        pa.array(columns.get(name, nothing), _SCHEMA.field(name).type) for name in _SCHEMA.names
    ]
    return pa.table(made, schema=_SCHEMA)


def _add(
    items: PlanItems,
    members: dict[str, list[Photo]],
    galleries: Galleries,
    shared: dict[str, "_Gallery"],
    spec: RestyleSpec,
    fingerprint: str,
) -> None:
    used = {id(photo): photo.row for photos in members.values() for photo in photos}
    versions = source_versions(
        uri for row in used.values() for name in _URIS if (uri := getattr(row, name))
    )
    for name, gallery in galleries.items():
        if name in members:
            if name not in shared:
                shared[name] = _Gallery(name, gallery.rows, spec, fingerprint)
                items.styles[name] = shared[name].styles
            for some in shared[name].pieces(members[name]):
                items.add(name, shared[name].table(some, versions))


class _Gallery:
    """Builds the items of one gallery."""

    def __init__(
        self, name: str, rows: list[GalleryRow], spec: RestyleSpec, fingerprint: str
    ) -> None:
        uris = (uri for row in rows for uri in (row.image_uri, row.mask_uri) if uri)
        versions = source_versions(uris)
        self.styles = [style_source(row, versions) for row in rows]
        self._ids = ItemIds(
            styles=self.styles,
            params=gallery_params(spec.params, rows[0].method, rows[0].preset),
            engine_fingerprint=fingerprint,
            image_format=spec.image_format,
            quality=spec.quality,
        )
        self._shared = {
            "gallery_id": name,
            "image_format": spec.image_format,
            "quality": spec.quality,
            "problem": None,
        }

    def pieces(self, photos: list[Photo]) -> Iterator[list[Photo]]:
        """Split photos into parts: each results row names the region maps of all references."""
        each = sum(len(style.style_id) + _MAP_TEXT for style in self.styles)
        most = max(1, _PART_TEXT // each)
        for begin in range(0, len(photos), most):
            yield photos[begin : begin + most]

    def table(self, photos: list[Photo], versions: dict[str, str]) -> pa.Table:
        rows = [photo.row for photo in photos]
        columns: dict[str, list[Any]] = {
            name: list(map(attrgetter(name), rows)) for name in ("product_id", "view", *_URIS)
        }
        for name in _URIS:
            version = name.replace("_uri", "_version")
            columns[version] = [uri and versions[uri] for uri in columns[name]]
        own = ("image_version", "mask_version", "protect_version", "routing_version")
        columns["item_id"] = [
            self._ids.of(seed=row.seed, **dict(zip(own, of, strict=True)))
            for row, *of in zip(rows, *(columns[name] for name in own), strict=True)
        ]
        columns["seed"] = [
            derived_seed(identifier) if row.seed is None else row.seed
            for row, identifier in zip(rows, columns["item_id"], strict=True)
        ]
        columns["extra"] = [list(photo.extra.items()) for photo in photos]
        made = {name: pa.array(v, _SCHEMA.field(name).type) for name, v in columns.items()}
        same = pa.array([0] * len(rows))
        for name, value in self._shared.items():
            made[name] = pa.array([value], _SCHEMA.field(name).type).take(same)
        return pa.table({name: made[name] for name in _SCHEMA.names}, schema=_SCHEMA)


def style_source(row: GalleryRow, versions: dict[str, str]) -> StyleSource:
    """Return a gallery row as a StyleSource, with the versions of its files."""
    return StyleSource(
        style_id=row.style_id,
        image_uri=row.image_uri,
        image_version=versions[row.image_uri],
        weight=row.weight,
        mask_uri=row.mask_uri,
        mask_version=versions[row.mask_uri] if row.mask_uri else None,
        license=row.license,
        attribution=row.attribution,
        method=row.method,
        preset=row.preset,
    )
