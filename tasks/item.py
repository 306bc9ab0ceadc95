"""One item, start to end: read, prepare, match, restyle, write. Every way out is one row."""

import hashlib
import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from schemas.result import ErrorInfo, ItemResult
from schemas.work import WorkItem
from stylegallery import images
from stylegallery.errors import BadImage, InputError
from stylegallery.types import Stylized
from tasks import storage
from tasks.caches import Prepared
from tasks.errors import FileMissing
from tasks.faults import is_transient
from tasks.notes import Note, credits_of, parse_note, rights_text
from tasks.sources import Bench, content_of, pins_of, protection_of, style_of

logger = logging.getLogger(__name__)

_TRACEBACK_CHARS = 4000


class Stages:
    """Times the stages of one item and knows which one it is in."""

    def __init__(self) -> None:
        self.current = "start"
        self.seconds: dict[str, float] = {}
        self._begin = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Enter a stage; after an error, `current` still names it."""
        self.current = name
        begin = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def total(self) -> dict[str, float]:
        """Return all times, rounded, with the `total` of the item."""
        times = {**self.seconds, "total": time.perf_counter() - self._begin}
        return {name: round(seconds, 4) for name, seconds in times.items()}


def restyle_item(bench: Bench, item: WorkItem, *, adopt: bool = False) -> ItemResult:
    """Do one item.

    Args:
        bench: Engine, output, parameters and caches.
        item: What to do.
        adopt: True when an asset may stand already, from before a crash; it is then read back
            and, if it is whole and of this item, taken over.

    Returns:
        The row. `rejected` when the input is at fault, `failed` for everything else that goes
        wrong; `error.transient` tells whether another attempt may help.
    """
    stages = Stages()
    try:
        row = _adopt(bench, item, stages) if adopt else None
        return row or _compute(bench, item, stages)
    except InputError as error:
        return _trouble(item, stages, error, "rejected")
    except Exception as error:
        return _trouble(item, stages, error, "failed")


def _compute(bench: Bench, item: WorkItem, stages: Stages) -> ItemResult:
    with stages.stage("prepare"):
        content = content_of(bench, item)
        protect, pins = protection_of(item), pins_of(item)
    with stages.stage("references"):
        styles = [style_of(bench, style, item.gallery_id) for style in item.styles]
    pictures = [style.image for style in styles]
    with stages.stage("match"):
        weights = [style.weight for style in item.styles]
        routing = bench.engine.match(
            content.image, pictures, bench.params, weights=weights, pins=pins
        )
    with stages.stage("stylize"):
        made = bench.engine.stylize(
            content.image, pictures, routing, bench.params, seed=item.seed, protect=protect
        )
    with stages.stage("encode"):
        note = _note(bench, item, content, styles, made)
        data = images.encode(
            made.picture,
            item.image_format,
            note.to_text(),
            rights=rights_text(note.references),
            quality=item.quality,
        )
    with stages.stage("write"):
        storage.write_bytes(storage.join(bench.output, item.asset_key), data)
    return _ok(item, note, data, stages)


def _note(
    bench: Bench, item: WorkItem, content: Prepared, styles: list[Prepared], made: Stylized
) -> Note:
    height, width = made.picture.size
    names = [style.style_id for style in item.styles]
    last = made.trace[-1] if made.trace else None
    return Note(
        item_id=item.item_id,
        engine=bench.fingerprint,
        params=bench.params,
        references=credits_of(item.styles),
        seed=item.seed,
        width=width,
        height=height,
        regions_uri=content.regions_uri,
        style_regions={n: s.regions_uri for n, s in zip(names, styles, strict=True)},
        matches=made.routing.rows(names),
        metrics={"loss": last.loss, "style_loss": last.style_loss} if last else {},
    )


def _adopt(bench: Bench, item: WorkItem, stages: Stages) -> ItemResult | None:
    """Return the row of an asset that stands, or None when there is none that can be used."""
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
        paths = [note.regions_uri, *note.style_regions.values()]
        if not whole or not all(storage.exists(storage.join(bench.output, p)) for p in paths):
            return None
    return _ok(item, note, data, stages).model_copy(update={"reused": True})


def _ok(item: WorkItem, note: Note, data: bytes, stages: Stages) -> ItemResult:
    return ItemResult(
        **_identity(item),
        status="ok",
        asset_uri=item.asset_key,
        asset_sha256=hashlib.sha256(data).hexdigest(),
        asset_bytes=len(data),
        width=note.width,
        height=note.height,
        regions_uri=note.regions_uri,
        style_regions=note.style_regions,
        matches=note.matches,
        metrics=note.metrics,
        timings=stages.total(),
        seed=item.seed,
        extra=item.extra,
        finished_at=datetime.now(UTC),
    )


def _trouble(item: WorkItem, stages: Stages, error: Exception, status: str) -> ItemResult:
    tail = ""
    if status == "failed":
        tail = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
        logger.warning("%s in %s: %s", item.item_id[:12], stages.current, error)
    return ItemResult.model_validate(
        {
            **_identity(item),
            "status": status,
            "timings": stages.total(),
            "seed": item.seed,
            "extra": item.extra,
            "finished_at": datetime.now(UTC),
            "error": ErrorInfo(
                stage=stages.current,
                type=type(error).__name__,
                message=str(error) or type(error).__name__,
                transient=status == "failed" and is_transient(error),
                traceback=tail,
            ),
        }
    )


def _identity(item: WorkItem) -> dict[str, str]:
    return {
        "item_id": item.item_id,
        "product_id": item.product_id,
        "view": item.view,
        "gallery_id": item.gallery_id,
    }
