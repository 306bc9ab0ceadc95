"""The actor: loads the engine once, then does leases of items, a few at a time."""

import logging
import os
import socket
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from schemas.result import ItemResult
from stylegallery.models.threads import limit_spinning
from tasks.execution.metrics import Finds
from tasks.logs import configure_actor_logs
from tasks.messages import ActorSetup, Assignment, Event, PreparingReferences, Started
from tasks.records.item_key import key_of
from tasks.storage.transient import MEMORY_ERRORS, is_cuda_context_lost

if TYPE_CHECKING:
    from tasks.items.item import Finish

logger = logging.getLogger(__name__)

_WRITERS = 2


class StyleActor:
    """One engine in one process; Ray makes it remote (see `tasks.execution.worker`)."""

    def __init__(self, setup: ActorSetup) -> None:
        """Load the engine.

        Raises:
            StyleGalleryError: the model cannot be loaded; Ray does not try again.
        """
        limit_spinning()
        import torch

        from stylegallery import StyleGallery
        from tasks.items.context import Bench

        configure_actor_logs(setup.run_id)
        if setup.threads:
            torch.set_num_threads(setup.threads)
        self._setup = setup
        self._bench = Bench(
            StyleGallery.load(setup.engine),
            setup.output,
            setup.params,
            fingerprint=setup.engine_fingerprint,
            batch=setup.batch,
        )
        self._finds = Finds()

    def ready(self) -> int:
        """Answer with the process id once the engine is loaded."""
        return os.getpid()

    def run(self, lease: list[Assignment]) -> Iterator[Event]:
        """Do the items of a lease, yielding a marker when some are begun, and the row of each.

        While the engine is at some items, threads read the photos of those after them and, where
        the setup says so, decode, encode and write those before them.
        """
        rest, writing = deque(lease), deque[_Writing]()
        with ThreadPoolExecutor(_WRITERS) as writers:
            while rest:
                group = self._group(rest)
                overlap = self._setup.overlap and not group[0].alone
                yield from self._rows(writing, 2 * len(group) if overlap else 0)
                yield Started(tuple(key_of(assignment.item) for assignment in group))
                yield from self._announced(group)
                todo = self._restyle(group, list(rest))
                if overlap:
                    writing += zip(group, map(writers.submit, todo), strict=True)
                else:
                    yield from (self._signed(a, do()) for a, do in zip(group, todo, strict=True))
            yield from self._rows(writing, 0)

    def _group(self, rest: deque[Assignment]) -> list[Assignment]:
        """Take the items off the front that are done together."""
        group = [rest.popleft()]
        while rest and len(group) < self._bench.batch and not (group[0].alone or rest[0].alone):
            group.append(rest.popleft())
        return group

    def _announced(self, group: list[Assignment]) -> Iterator[PreparingReferences]:
        """Say that references are prepared first, which the first item of a gallery waits for."""
        from tasks.items.inputs import has_unprepared_references

        if has_unprepared_references(self._bench, [assignment.item for assignment in group]):
            yield PreparingReferences()

    def _restyle(self, group: list[Assignment], rest: list[Assignment]) -> list["Finish"]:
        """Let the engine do its part of a group; `rest` is what comes after it."""
        from tasks.items.inputs import read_ahead
        from tasks.items.item import restyle_items

        read_ahead(self._bench, [assignment.item for assignment in rest[: self._bench.batch]])
        finishes = restyle_items(self._bench, group)
        self._finds.take(self._bench.found)
        return finishes

    def _rows(self, writing: deque["_Writing"], most: int) -> Iterator[ItemResult]:
        """Yield the rows of what is written, in order, and wait until `most` are not."""
        while writing and (len(writing) > most or writing[0][1].done()):
            assignment, row = writing.popleft()
            yield self._signed(assignment, row.result())

    def _signed(self, assignment: Assignment, row: ItemResult) -> ItemResult:
        if row.error and is_cuda_context_lost(row.error.message):
            # Raising would not do: the process would live on and fail every later item.
            logger.error("the CUDA context is lost, leaving: %s", row.error.message)
            os._exit(1)
        if row.error and row.error.type in MEMORY_ERRORS:
            self._bench.free_memory()
        self._say(assignment, row)
        return row.model_copy(
            update={
                "attempts": assignment.attempt,
                "engine_fingerprint": self._setup.engine_fingerprint,
                "node": socket.gethostname(),
                "run_id": self._setup.run_id,
            }
        )

    def _say(self, assignment: Assignment, row: ItemResult) -> None:
        seconds = row.timings.get("total", 0.0)
        told = {
            "plan_part": assignment.part,
            **key_of(row)._asdict(),
            "attempt": assignment.attempt,
            "status": row.status,
            "seconds": seconds,
        }
        if row.error is None:
            logger.info("%s: ok in %g s", row.item_id[:12], seconds, extra=told)
        else:
            said, stage = row.error.message, row.error.stage
            told |= {"stage": stage, "error": row.error.type}
            logger.warning("%s in %s: %s", row.item_id[:12], stage, said, extra=told)


_Writing = tuple[Assignment, "Future[ItemResult]"]
