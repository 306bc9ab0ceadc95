"""Every way out of an item is one row: these write it."""

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
from tasks.items.provenance import Note
from tasks.messages import ActorSetup, Assignment
from tasks.records.item_key import key_of
from tasks.storage.redaction import redact
from tasks.storage.transient import is_transient

_TRACEBACK_CHARS = 4000


class Stages:
    """Times the stages of one item and knows which one it is in."""

    def __init__(self) -> None:
        self.current = "start"
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Enter a stage; after an error, `current` still names it."""
        self.current = name
        begin = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - begin)

    def add(self, name: str, seconds: float) -> None:
        """Add an item's share of what several did together."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def total(self) -> dict[str, float]:
        """Return the times, rounded, and as `total` their sum: waiting for others is not in it."""
        times = {**self._seconds, "total": sum(self._seconds.values())}
        return {name: round(seconds, 4) for name, seconds in times.items()}


def row_of(item: WorkItem, note: Note, data: bytes, stages: Stages) -> ItemResult:
    """Return the row of an item whose asset stands, as its note tells."""
    return ItemResult(
        **key_of(item)._asdict(),
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
        warnings=[
            blank_warning(reference_name(style_id, item.gallery_id), what)
            for style_id, what in note.blank_styles.items()
        ],
        timings=stages.total(),
        seed=item.seed,
        extra=item.extra,
        finished_at=datetime.now(UTC),
    )


def reference_name(style_id: str, gallery_id: str) -> str:
    """Return what to call a reference in a sentence."""
    return f"reference {style_id!r} of gallery {gallery_id!r}"


def trouble(item: WorkItem, error: Exception, stages: Stages) -> ItemResult:
    """Return the row of an item that came to nothing.

    It is `rejected` when the input is at fault, `failed` for everything else that goes wrong;
    `error.transient` tells whether another attempt may help.
    """
    status = "rejected" if isinstance(error, InputError) else "failed"
    message, tail = one_line(redact(str(error))) or type(error).__name__, ""
    if status == "failed":
        tail = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    return ItemResult.model_validate(
        {
            **key_of(item)._asdict(),
            "status": status,
            "timings": stages.total(),
            "seed": item.seed,
            "extra": item.extra,
            "finished_at": datetime.now(UTC),
            "error": ErrorInfo(
                stage=stages.current,
                type=type(error).__name__,
                message=message,
                transient=status == "failed" and is_transient(error),
                traceback=clean(redact(tail)),
            ),
        }
    )


def casualty(assignment: Assignment, why: str, kind: str, setup: ActorSetup) -> ItemResult:
    """Return the row of an item whose engine's process ended while at it.

    Args:
        assignment: The item, and which attempt it was.
        why: What is known of the end.
        kind: Class of the error that told of it.
        setup: Of the actor.
    """
    item = assignment.item
    message = (
        f"the engine's process ended while at this item ({one_line(why, 300)}), in each of "
        f"{assignment.attempt} attempts; look at the photo's size and the memory of the machine"
    )
    return ItemResult.model_validate(
        {
            **key_of(item)._asdict(),
            "status": "failed",
            "attempts": assignment.attempt,
            "seed": item.seed,
            "extra": item.extra,
            "engine_fingerprint": setup.engine_fingerprint,
            "run_id": setup.run_id,
            "finished_at": datetime.now(UTC),
            "error": ErrorInfo(stage="actor", type=kind, message=message, transient=True),
        }
    )
