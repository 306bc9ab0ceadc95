"""What failed, as a catalog: fix the cause and hand it in as the next manifest."""

from collections.abc import Iterable

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.manifest import CatalogRow
from schemas.work import PlannedItem, derived_seed


def retry_table(failed: Iterable[PlannedItem]) -> pa.Table:
    """Return failed items as catalog rows with absolute URIs.

    A photo that failed in several galleries is one row that names them. Seeds that were derived
    stay empty, so that the next run finds the same item ids.
    """
    photos: dict[tuple[str, str], tuple[CatalogRow, dict[str, str]]] = {}
    for item in failed:
        held = photos.get((item.product_id, item.view))
        galleries = [*((held[0].galleries if held else None) or []), item.gallery_id]
        photos[item.product_id, item.view] = (_row(item, galleries), item.extra)
    names = sorted({name for _, extra in photos.values() for name in extra})
    schema = arrow_schema(CatalogRow)
    for name in names:
        schema = schema.append(pa.field(name, pa.string()))
    return pa.Table.from_pylist(
        [{**row.model_dump(), **extra} for row, extra in photos.values()], schema=schema
    )


def _row(item: PlannedItem, galleries: list[str]) -> CatalogRow:
    return CatalogRow(
        product_id=item.product_id,
        view=item.view,
        image_uri=item.image_uri,
        galleries=galleries,
        mask_uri=item.mask_uri,
        protect_uri=item.protect_uri,
        routing_uri=item.routing_uri,
        seed=None if item.seed == derived_seed(item.item_id) else item.seed,
    )
