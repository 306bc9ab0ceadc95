"""The results of items: success or failure, with stage timings."""

import hashlib
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from schemas.result import ErrorInfo, ItemResult
from schemas.text import clean, one_line
from schemas.work import WorkItem
from stylegallery.errors import InputError
from stylegallery.images.blank import blank_warning
from tasks.items.provenance import AssetMetadata
from tasks.records.item_key import key_of
from tasks.storage.redaction import redact
from tasks.storage.transient import is_transient

_TRACEBACK_CHARS = 4000


class StageTimer:
    """Times the stages of one item.

    Attributes:
        current: Name of the stage that was entered last; after an error, the one that failed.
    """

    def __init__(self) -> None:
        self.current = "start"
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as a stage."""
        self.current = name
        begin = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - begin)

    def add(self, name: str, seconds: float) -> None:
        """Add seconds to a stage, such as an item's share of a batch."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def seconds(self) -> dict[str, float]:
        """Return the rounded seconds by stage and their sum, `total`, without waiting times."""
        times = {**self._seconds, "total": sum(self._seconds.values())}
        return {name: round(seconds, 4) for name, seconds in times.items()}


def success_result(
    item: WorkItem, metadata: AssetMetadata, data: bytes, timer: StageTimer
) -> ItemResult:
    """Return the result of an item with an asset.

    Args:
        item: The item.
        metadata: The asset's metadata.
        data: Bytes of the asset file.
        timer: The item's timings.
    """
    return ItemResult(
        **key_of(item)._asdict(),
        status="ok",
        asset_uri=item.asset_key,
        asset_sha256=hashlib.sha256(data).hexdigest(),
        asset_bytes=len(data),
        width=metadata.width,
        height=metadata.height,
        regions_uri=metadata.regions_uri,
        style_regions=metadata.style_regions,
        matches=metadata.matches,
        metrics=metadata.metrics,
        method=metadata.params.method,
        form=metadata.form,
        attempted_strengths=metadata.attempted_strengths,
        warnings=[*_warnings(item, metadata)],
        timings=timer.seconds(),
        seed=item.seed,
        extra=item.extra,
        finished_at=datetime.now(UTC),
    )


def _warnings(item: WorkItem, metadata: AssetMetadata) -> Iterator[str]:
    for style_id, what in metadata.blank_styles.items():
        yield blank_warning(reference_name(style_id, item.gallery_id), what)
    for learnt in metadata.adapters:
        if learnt.weak:
            first, *others = learnt.styles
            what = reference_name(first, item.gallery_id)
            what = f"gallery {item.gallery_id!r}" if others else what
            yield (
                f"the model learnt hardly anything from {what}; raise adapter_steps or "
                "adapter_rate, or use references with clearer strokes"
            )


def reference_name(style_id: str, gallery_id: str) -> str:
    """Return the name of a reference in messages."""
    return f"reference {style_id!r} of gallery {gallery_id!r}"


def failure_result(item: WorkItem, error: Exception, timer: StageTimer) -> ItemResult:
    """Return the result of an item without an asset.

    Its status is `rejected` for an InputError and `failed` for any other error; `error.transient`
    is True when another attempt may succeed.
    """
    status = "rejected" if isinstance(error, InputError) else "failed"
    message, tail = one_line(redact(str(error))) or type(error).__name__, ""
    if status == "failed":
        tail = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    return ItemResult.model_validate(
        {
            **key_of(item)._asdict(),
            "status": status,
            "timings": timer.seconds(),
            "seed": item.seed,
            "extra": item.extra,
            "finished_at": datetime.now(UTC),
            "error": ErrorInfo(
                stage=timer.current,
                type=type(error).__name__,
                message=message,
                transient=status == "failed" and is_transient(error),
                traceback=clean(redact(tail)),
            ),
        }
    )
