"""Recover assets whose result was lost because a driver or actor died between the two writes."""

from schemas.result import ItemResult
from schemas.work import WorkItem
from stylegallery.errors import BadImage
from stylegallery.images import codec
from tasks.errors import FileMissing
from tasks.items.context import ActorContext
from tasks.items.outcome import StageTimer, success_result
from tasks.items.provenance import parse_asset_metadata
from tasks.records.finished_files import file_problem, map_digests


def recover_asset(context: ActorContext, item: WorkItem, timer: StageTimer) -> ItemResult | None:
    """Return the result of an existing asset, or None if there is no intact asset of the item.

    Raises:
        StorageError: the store cannot be reached.
    """
    with timer.stage("read"):
        try:
            data = (context.output / item.asset_key).read_bytes()
        except FileMissing:
            return None
        metadata = parse_asset_metadata(codec.read_note(data))
        if metadata is None or metadata.item_id != item.item_id:
            return None
        try:
            size = codec.decode(data, item.asset_key).size
        except BadImage:
            return None
        if size != (metadata.height, metadata.width):
            return None
        maps = map_digests(metadata.regions_uri, metadata.style_regions)
        if not all(_is_intact(context, path, sha256) for path, sha256 in maps.items()):
            return None
    return success_result(item, metadata, data, timer).model_copy(update={"reused": True})


def _is_intact(context: ActorContext, path: str, sha256: str) -> bool:
    """Return whether a region map matches its hash; intact ones are checked once per actor."""
    if path not in context.written and not file_problem(context.output / path, sha256):
        context.written.add(path)
    return path in context.written
