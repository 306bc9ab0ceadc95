"""What failed, as a catalog: fix the cause and hand it in as the next manifest."""

import io
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.arrow import arrow_schema, from_table
from schemas.manifest import CatalogRow
from schemas.work import PlannedItem, derived_seed


def retry_manifest(failed: Callable[[], Iterator[pa.Table]]) -> bytes:
    """Return failed items as catalog rows with absolute URIs, in a Parquet file.

    A photo that failed in several galleries is one row that names them. Seeds that were derived
    stay empty, so that the next run finds the same item ids.

    Args:
        failed: Yields the failed items, table by table; called twice, since in memory there is
            never more than a table.
    """
    galleries: dict[tuple[str, str], list[str]] = {}
    names: set[str] = set()
    for table in failed():
        columns = (table[name].to_pylist() for name in ("product_id", "view", "gallery_id"))
        for product, view, gallery in zip(*columns, strict=True):
            galleries.setdefault((product, view), []).append(gallery)
        names.update(name for extra in table["extra"].to_pylist() for name, _ in extra)
    schema, out = arrow_schema(CatalogRow), io.BytesIO()
    for name in sorted(names):
        schema = schema.append(pa.field(name, pa.string()))
    with pq.ParquetWriter(out, schema, compression="zstd", write_page_checksum=True) as writer:
        for table in failed():
            rows = [
                {**_row(item, own).model_dump(), **item.extra}
                for item in from_table(table, PlannedItem)
                if (own := galleries.pop((item.product_id, item.view), None))
            ]
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return out.getvalue()


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
