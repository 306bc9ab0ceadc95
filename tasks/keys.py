"""What makes an item of a run one and the same item, and which of its rows counts."""

from collections.abc import Iterable
from typing import NamedTuple

from schemas.result import ItemResult
from schemas.work import WorkItem


class ItemKey(NamedTuple):
    """Identity of an item. The same photo listed twice is two items with one `item_id`."""

    item_id: str
    product_id: str
    view: str
    gallery_id: str


def key_of(row: WorkItem | ItemResult) -> ItemKey:
    """Return the key of an item or of its row."""
    return ItemKey(row.item_id, row.product_id, row.view, row.gallery_id)


def winners(rows: Iterable[ItemResult]) -> dict[ItemKey, ItemResult]:
    """Choose one row for each key: an `ok` one if there is any, else the latest.

    Args:
        rows: Oldest first.
    """
    best: dict[ItemKey, ItemResult] = {}
    for row in rows:
        key = key_of(row)
        held = best.get(key)
        if held is None or held.status != "ok" or row.status == "ok":
            best[key] = row
    return best
