"""Make single items and restyle them in this process."""

from pathlib import Path
from typing import Any

from schemas.result import ItemResult
from schemas.work import StyleSource, WorkItem
from tasks.items.context import ActorContext
from tasks.items.item import restyle_items
from tasks.messages import Assignment
from tests.tasks import pictures
from tests.tasks.places import at


def item_of(folder: Path, data: bytes | None, **changes: Any) -> WorkItem:
    """Return an item whose photo holds `data` (None: is missing) and whose reference is valid."""
    photo, style = folder / "photo.jpg", folder / "style.png"
    if data is not None:
        photo.write_bytes(data)
    style.write_bytes(pictures.encoded(pictures.noise()[::-1].copy(), "PNG"))
    reference = StyleSource(style_id="s", image_uri=str(style), image_version=at(style).version())
    values: dict[str, Any] = {
        "item_id": "ab" * 32,
        "product_id": "p",
        "view": "main",
        "gallery_id": "g",
        "image_uri": str(photo),
        "image_version": at(photo).version(),
        "seed": 1,
        "styles": [reference],
        "image_format": "png",
        **changes,
    }
    return WorkItem(**values)


def restyle_item(context: ActorContext, item: WorkItem, recover: bool = False) -> ItemResult:
    (pending,) = restyle_items(context, [Assignment(item, recover=recover)])
    return pending.finish()
