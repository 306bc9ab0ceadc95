"""The key that identifies an item within a run."""

from typing import NamedTuple

from schemas.evaluation import ItemEvaluation
from schemas.result import ItemResult
from schemas.work import PlannedItem


class ItemKey(NamedTuple):
    """Key of an item. A photo that is listed twice gives two items with the same `item_id`."""

    item_id: str
    product_id: str
    view: str
    gallery_id: str


def key_of(row: PlannedItem | ItemResult | ItemEvaluation) -> ItemKey:
    """Return the key of an item or of its result."""
    return ItemKey(row.item_id, row.product_id, row.view, row.gallery_id)
