"""The Ray actor: loads the engine once, then restyles chunks of items."""

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from schemas.result import ItemResult
from tasks.execution.engine_context import load_context
from tasks.execution.metrics import CacheMetrics
from tasks.messages import ActorSetup, Assignment, Event, PreparingReferences, Started
from tasks.records.item_key import key_of
from tasks.storage.transient import MEMORY_ERRORS, is_cuda_context_lost

logger = logging.getLogger(__name__)

_WRITERS = 2


class StyleActor:
    """One engine in one process. :mod:`tasks.execution.worker` turns the class into a Ray actor."""

    def __init__(self, setup: ActorSetup) -> None:
        """Load the engine.

        Raises:
            StyleGalleryError: the model cannot be loaded or takes no text; Ray does not try again.
        """
        self._setup = setup
        self._context = load_context(setup)
        self._cache_metrics = CacheMetrics()

    def ready(self) -> int:
        """Return the process id; Ray calls this once the engine is loaded."""
        return os.getpid()

    def run(self, chunk: list[Assignment]) -> Iterator[Event]:
        """Restyle a chunk of items; yield `Started` before each group and one result per item.

        The process exits when the CUDA context is lost: every later item would fail too, and
        an exception would leave the process alive.
        """
        assignments = {key_of(assignment.item): assignment for assignment in chunk}
        for event in self._events(chunk):
            if not isinstance(event, ItemResult):
                yield event
                continue
            if event.error and is_cuda_context_lost(event.error.message):
                logger.error("the CUDA context is lost; the process exits: %s", event.error.message)
                os._exit(1)
            yield self._complete(assignments[key_of(event)], event)

    def _events(self, chunk: list[Assignment]) -> Iterator[Event]:
        """Restyle group by group.

        While the engine works on a group, threads read the photos of the next group and, with
        `overlap`, decode, encode and write the previous ones.
        """
        remaining, writing = deque(chunk), deque[Future[ItemResult]]()
        with ThreadPoolExecutor(_WRITERS) as writers:
            while remaining:
                group = self._next_group(remaining)
                overlap = self._setup.overlap and not group[0].alone
                yield from _written(writing, 2 * len(group) if overlap else 0)
                yield Started(tuple(key_of(assignment.item) for assignment in group))
                yield from self._announced(group)
                finishers = self._restyle(group, list(remaining))
                if overlap:
                    writing += map(writers.submit, finishers)
                else:
                    yield from (finish() for finish in finishers)
            yield from _written(writing, 0)

    def _next_group(self, remaining: deque[Assignment]) -> list[Assignment]:
        """Remove the next items that share UNet calls from the front."""
        group = [remaining.popleft()]
        while (
            remaining
            and len(group) < self._context.batch
            and not (group[0].alone or remaining[0].alone)
        ):
            group.append(remaining.popleft())
        return group

    def _announced(self, group: list[Assignment]) -> Iterator[PreparingReferences]:
        """Yield an event if references must be prepared, which delays a gallery's first item."""
        from tasks.items.inputs import has_unprepared_references

        if has_unprepared_references(self._context, [assignment.item for assignment in group]):
            yield PreparingReferences()

    def _restyle(
        self, group: list[Assignment], remaining: list[Assignment]
    ) -> list[Callable[[], ItemResult]]:
        """Run the engine on a group and start to read the photos of the next one.

        Returns:
            For each item, a function that decodes, encodes and writes it.
        """
        from tasks.items.inputs import read_ahead
        from tasks.items.item import restyle_items

        read_ahead(self._context, [a.item for a in remaining[: self._context.batch]])
        items = restyle_items(self._context, group)
        self._cache_metrics.report(self._context.found)
        return [item.finish for item in items]

    def _complete(self, assignment: Assignment, result: ItemResult) -> ItemResult:
        """Log a result and add attempt, engine, node and run to it."""
        if result.error and result.error.type in MEMORY_ERRORS:
            self._context.free_memory()
        _log(assignment, result)
        return result.model_copy(
            update={
                "attempts": assignment.attempt,
                "engine_fingerprint": self._setup.engine_fingerprint,
                "node": socket.gethostname(),
                "run_id": self._setup.run_id,
            }
        )


def _written(writing: deque[Future[ItemResult]], most: int) -> Iterator[ItemResult]:
    """Yield finished results in order; wait until at most `most` are unfinished."""
    while writing and (len(writing) > most or writing[0].done()):
        yield writing.popleft().result()


def _log(assignment: Assignment, result: ItemResult) -> None:
    seconds = result.timings.get("total", 0.0)
    fields = {
        "plan_part": assignment.part,
        **key_of(result)._asdict(),
        "attempt": assignment.attempt,
        "status": result.status,
        "seconds": seconds,
    }
    if result.error is None:
        logger.info("%s: ok in %g s", result.item_id[:12], seconds, extra=fields)
    else:
        message, stage = result.error.message, result.error.stage
        fields |= {"stage": stage, "error": result.error.type}
        logger.warning("%s in %s: %s", result.item_id[:12], stage, message, extra=fields)
