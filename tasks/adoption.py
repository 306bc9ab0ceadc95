"""Assets that stand although no row tells of them, because a crash came between."""

from schemas.result import ItemResult
from schemas.work import WorkItem
from stylegallery import images
from stylegallery.errors import BadImage
from tasks import storage
from tasks.bench import Bench
from tasks.errors import FileMissing
from tasks.finished_files import fault, map_digests
from tasks.notes import parse_note
from tasks.rows import row_of
from tasks.stages import Stages


def adopt(bench: Bench, item: WorkItem, stages: Stages) -> ItemResult | None:
    """Return the row of an asset that stands, or None when there is none that can be used.

    Raises:
        StorageError: the store is at fault.
    """
    with stages.stage("read"):
        try:
            data = storage.read_bytes(storage.join(bench.output, item.asset_key))
        except FileMissing:
            return None
        note = parse_note(images.read_note(data))
        if note is None or note.item_id != item.item_id:
            return None
        try:
            whole = images.decode(data, item.asset_key).size == (note.height, note.width)
        except BadImage:
            return None
        maps = map_digests(note.regions_uri, note.style_regions)
        if not whole or not all(_stands(bench, path, sha) for path, sha in maps.items()):
            return None
    return row_of(item, note, data, stages).model_copy(update={"reused": True})


def _stands(bench: Bench, path: str, sha256: str) -> bool:
    """Tell whether a region map is whole; those of references are looked at once."""
    if path not in bench.written and not fault(bench.output, path, sha256):
        bench.written.add(path)
    return path in bench.written
