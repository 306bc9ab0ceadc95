"""Photos times galleries: the items of a run, in the order in which they are done."""

from collections.abc import Iterator

from schemas.manifest import CatalogRow, GalleryRow
from schemas.run import RestyleSpec
from schemas.work import StyleSource, WorkItem, derived_seed, item_id
from tasks.manifests import Catalog, Galleries, Photo
from tasks.versions import source_versions


def expand(
    catalog: Catalog, galleries: Galleries, spec: RestyleSpec, fingerprint: str
) -> tuple[WorkItem, ...]:
    """List the items of a run: by gallery, so that its references stay in the actors' caches.

    A limit takes the first photos in all their galleries, not one gallery alone.

    Raises:
        StorageError: a store is away for the moment.
    """
    pairs = [
        (photo, gallery_id)
        for photo in catalog.photos
        for gallery_id in galleries
        if photo.row.galleries is None or gallery_id in photo.row.galleries
    ]
    pairs = pairs[: spec.limit or None]
    used = {gallery_id for _, gallery_id in pairs}
    versions = source_versions(_uris(pairs, galleries, used))
    styles = {
        name: [_style(row, versions) for row in rows]
        for name, rows in galleries.items()
        if name in used
    }
    return tuple(
        _item(photo, name, styles[name], versions, spec, fingerprint)
        for name in styles
        for photo, gallery_id in pairs
        if gallery_id == name
    )


def _uris(pairs: list[tuple[Photo, str]], galleries: Galleries, used: set[str]) -> Iterator[str]:
    rows: list[CatalogRow | GalleryRow] = [photo.row for photo, _ in pairs]
    rows += [row for name in used for row in galleries[name]]
    for row in rows:
        for name in ("image_uri", "mask_uri", "protect_uri", "routing_uri"):
            if uri := getattr(row, name, None):
                yield uri


def _style(row: GalleryRow, versions: dict[str, str]) -> StyleSource:
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


def _item(
    photo: Photo,
    gallery_id: str,
    styles: list[StyleSource],
    versions: dict[str, str],
    spec: RestyleSpec,
    fingerprint: str,
) -> WorkItem:
    row = photo.row
    extras = {
        f"{name}_version": versions[uri] if uri else None
        for name, uri in (
            ("mask", row.mask_uri),
            ("protect", row.protect_uri),
            ("routing", row.routing_uri),
        )
    }
    identifier = item_id(
        image_version=versions[row.image_uri],
        styles=styles,
        params=spec.params,
        engine_fingerprint=fingerprint,
        image_format=spec.image_format,
        quality=spec.quality,
        seed=row.seed,
        **extras,
    )
    return WorkItem(
        item_id=identifier,
        product_id=row.product_id,
        view=row.view,
        gallery_id=gallery_id,
        image_uri=row.image_uri,
        image_version=versions[row.image_uri],
        mask_uri=row.mask_uri,
        protect_uri=row.protect_uri,
        routing_uri=row.routing_uri,
        seed=derived_seed(identifier) if row.seed is None else row.seed,
        styles=styles,
        image_format=spec.image_format,
        quality=spec.quality,
        extra=photo.extra,
        **extras,
    )
