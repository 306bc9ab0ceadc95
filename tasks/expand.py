"""Photos times galleries: the items of a run, as tables of some thousand rows each."""

from collections.abc import Iterable, Iterator
from itertools import islice
from operator import attrgetter
from typing import Any

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.manifest import GalleryRow
from schemas.run import RestyleSpec
from schemas.work import ItemIds, StyleSource, WorkItem, derived_seed
from tasks.manifests import Galleries, Photo
from tasks.versions import source_versions

_BATCH = 20_000
_SCHEMA = arrow_schema(WorkItem)
_URIS = ("image_uri", "mask_uri", "protect_uri", "routing_uri")


def expand(
    photos: Iterable[Photo], galleries: Galleries, spec: RestyleSpec, fingerprint: str
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the items of a run: a gallery and a table of items, for some thousand photos at a time.

    The tables have the columns of WorkItem. They are filled column by column: a million objects
    would take more time and memory than all else that planning does. A limit takes the first
    photos in all their galleries, not one gallery alone.

    Raises:
        StorageError: a store is away for the moment.
    """
    left = spec.limit or None
    columns: dict[str, _Gallery] = {}
    stream = iter(photos)
    while batch := list(islice(stream, _BATCH)):
        pairs = (
            (index, name)
            for index, photo in enumerate(batch)
            for name in galleries
            if photo.row.galleries is None or name in photo.row.galleries
        )
        chosen = list(islice(pairs, left))
        yield from _tables(batch, chosen, galleries, columns, spec, fingerprint)
        if left is not None:
            left -= len(chosen)
            if not left:
                return


def _tables(
    batch: list[Photo],
    pairs: list[tuple[int, str]],
    galleries: Galleries,
    columns: dict[str, "_Gallery"],
    spec: RestyleSpec,
    fingerprint: str,
) -> Iterator[tuple[str, pa.Table]]:
    members: dict[str, list[int]] = {}
    for index, name in pairs:
        members.setdefault(name, []).append(index)
    used = sorted({index for index, _ in pairs})
    rows = [batch[index].row for index in used]
    versions = source_versions(u for row in rows for name in _URIS if (u := getattr(row, name)))
    for name in galleries:
        if name in members:
            if name not in columns:
                columns[name] = _Gallery(name, galleries[name], spec, fingerprint)
            yield name, columns[name].table([batch[i] for i in members[name]], versions)


class _Gallery:
    """What the items of one gallery share."""

    def __init__(
        self, name: str, rows: list[GalleryRow], spec: RestyleSpec, fingerprint: str
    ) -> None:
        uris = (uri for row in rows for uri in (row.image_uri, row.mask_uri) if uri)
        versions = source_versions(uris)
        styles = [style_source(row, versions) for row in rows]
        self._ids = ItemIds(
            styles=styles,
            params=spec.params,
            engine_fingerprint=fingerprint,
            image_format=spec.image_format,
            quality=spec.quality,
        )
        self._shared = {
            "gallery_id": name,
            "styles": [style.model_dump() for style in styles],
            "image_format": spec.image_format,
            "quality": spec.quality,
        }

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
