"""Photos times galleries: the items of a run, as tables of some thousand rows each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.manifest import GalleryRow
from schemas.run import RestyleSpec
from schemas.work import (
    ItemIds,
    PlannedItem,
    StyleSource,
    derived_seed,
    rejected_item_id,
)
from stylegallery.wording import one_line
from tasks.manifests import Galleries, Photo, unknown_gallery
from tasks.plan_items import PlanItems
from tasks.versions import source_versions

_BATCH = 20_000
_BATCH_TEXT = 2**24
"""Most characters of further columns in a batch, and so in a part of a plan."""
_PART_TEXT = 2**25
"""Most characters that the paths of references' region maps take in the results of a part."""
_MAP_TEXT = 80
"""Characters of such a path."""
_SCHEMA = arrow_schema(PlannedItem)
_URIS = ("image_uri", "mask_uri", "protect_uri", "routing_uri")
_MOST_SENTENCE = 1000


@dataclass(frozen=True)
class _Rejected:
    """An item that cannot be planned.

    Attributes:
        photo: Its catalog row.
        gallery_id: The gallery asked for.
        item_id: A hash of what the manifests say.
        problem: What is wrong, in a sentence.
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
) -> None:
    """Add the items of a run to a plan, some thousand photos at a time.

    The tables have the columns of PlannedItem. They are filled column by column: a million objects
    would take more time and memory than all else that planning does. A limit takes the first
    photos in all their galleries, not one gallery alone.

    Args:
        items: The plan.
        photos: The catalog; read as far as the limit asks for.
        galleries: Those asked for.
        known: All galleries of the manifests.
        spec: What the run is asked to do.
        fingerprint: Of the engine.

    Raises:
        StorageError: a store is away for the moment.
    """
    left = spec.limit or None
    shared: dict[str, _Gallery] = {}
    for batch in _batches(photos):
        pairs = ((photo, name) for photo in batch for name in _asked(photo, galleries, known))
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
        if left == 0:
            return


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


def _asked(photo: Photo, galleries: Galleries, known: Galleries) -> Iterator[str]:
    """Yield the galleries that a photo is to be restyled in, and those it names that are unknown.

    An unknown name may be a misspelt one of those asked for, so it is not left out.
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
        item_id = rejected_item_id(*own, flaw.column, flaw.row, flaw.rule)
        sentence = f"a reference of its gallery cannot be used: {flaw}"
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
    """What the items of one gallery share."""

    def __init__(
        self, name: str, rows: list[GalleryRow], spec: RestyleSpec, fingerprint: str
    ) -> None:
        uris = (uri for row in rows for uri in (row.image_uri, row.mask_uri) if uri)
        versions = source_versions(uris)
        self.styles = [style_source(row, versions) for row in rows]
        self._ids = ItemIds(
            styles=self.styles,
            params=spec.params,
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
        """Yield photos for a part each: a row of its results names the maps of all references."""
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
    """Return a reference as items carry it; `versions` tells which bytes are at its URIs."""
    return StyleSource(
        style_id=row.style_id,
        image_uri=row.image_uri,
        image_version=versions[row.image_uri],
        weight=row.weight,
        mask_uri=row.mask_uri,
        mask_version=versions[row.mask_uri] if row.mask_uri else None,
        license=row.license,
        attribution=row.attribution,
    )
