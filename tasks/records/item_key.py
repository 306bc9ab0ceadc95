"""What makes an item of a run one and the same item."""

from typing import NamedTuple

from schemas.evaluation import ItemEvaluation
from schemas.result import ItemResult
from schemas.work import PlannedItem


class ItemKey(NamedTuple):
    """Identity of an item. The same photo listed twice is two items with one `item_id`."""

    item_id: str
    product_id: str
    view: str
    gallery_id: str


def key_of(row: PlannedItem | ItemResult | ItemEvaluation) -> ItemKey:
    """Return the key of an item or of its row."""
    return ItemKey(row.item_id, row.product_id, row.view, row.gallery_id)
