"""Assets that stand although no row tells of them, because a crash came between."""

from schemas.result import ItemResult
from schemas.work import WorkItem
from stylegallery.errors import BadImage
from stylegallery.images import codec
from tasks import storage
from tasks.errors import FileMissing
from tasks.items.outcome import row_of
from tasks.items.provenance import parse_note
from tasks.items.stages import Stages


def adopt(output: str, item: WorkItem, stages: Stages) -> ItemResult | None:
    """Return the row of an asset that stands, or None when there is none that can be used.

    Raises:
        StorageError: the store is at fault.
    """
    with stages.stage("read"):
        try:
            data = storage.read_bytes(storage.join(output, item.asset_key))
        except FileMissing:
            return None
        note = parse_note(codec.read_note(data))
        if note is None or note.item_id != item.item_id:
            return None
        try:
            whole = codec.decode(data, item.asset_key).size == (note.height, note.width)
        except BadImage:
            return None
        paths = [note.regions_uri, *note.style_regions.values()]
        if not whole or not all(storage.exists(storage.join(output, p)) for p in paths):
            return None
    return row_of(item, note, data, stages).model_copy(update={"reused": True})
