"""The pool: assigns chunks of items to actors and turns every outcome into a result.

Ray retries nothing by itself. This loop owns retries, blame and deadlines: an actor announces the
items that it starts, so when it dies only those are suspects and all others are requeued unblamed.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from ray.exceptions import ActorDiedError, RayActorError, RayError

from schemas.result import ErrorInfo, ItemResult
from schemas.run import PoolSpec
from schemas.text import first_line, one_line
from tasks.cluster.session import Layout, actor_capacity, live_nodes, wait
from tasks.errors import PoolError
from tasks.execution.actor import StyleActor
from tasks.execution.circuit_breaker import CircuitBreaker
from tasks.execution.metrics import RunMetrics
from tasks.execution.progress import OnProgress, Progress
from tasks.execution.queue import WorkQueue
from tasks.execution.worker import MAX_CHUNKS, InFlightChunk, Worker, load_failure
from tasks.messages import ActorSetup, Assignment, PreparingReferences, Started
from tasks.records.item_key import key_of
from tasks.records.ledger import Ledger

__all__ = ["Pool", "Progress"]

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_MAX_FAILED_STARTS = 5
_NOTICE_SECONDS = 60.0
_NODES_SECONDS = 10.0


class Pool:
    """Runs actors until every item has a result."""

    def __init__(
        self,
        spec: PoolSpec,
        layout: Layout,
        setup: ActorSetup,
        ledger: Ledger,
        progress: Progress,
        on_progress: OnProgress,
        kind: type[StyleActor] = StyleActor,
    ) -> None:
        self._spec, self._layout, self._setup = spec, layout, setup
        self._ledger, self._progress, self._on_progress = ledger, progress, on_progress
        self._metrics = RunMetrics()
        self._kind = kind
        self._workers: list[Worker] = []
        self._chunk_size = max(spec.chunk_size, setup.batch)
        self._deadline = spec.item_deadline * setup.batch
        self._any_ready = False
        self._breaker = CircuitBreaker()
        self._next_notice = time.monotonic() + _NOTICE_SECONDS
        self._next_resize = time.monotonic() + _NODES_SECONDS
        self._next_stall_check = 0.0

    def run(self, assignments: Iterable[Assignment], count: int) -> None:
        """Process `count` items. The ledger holds all results so far, however this ends.

        Raises:
            PoolError: engines cannot start or keep dying, so no single item is to blame.
            StorageError: the ledger cannot be written.
        """
        self._queue = WorkQueue(assignments, count)
        try:
            self._resize(self._layout.actors)
            self._on_progress(replace(self._progress, phase="loading the engine"))
            while len(self._queue) or any(worker.chunks for worker in self._workers):
                self._step()
        finally:
            try:
                self._ledger.commit()
            finally:
                for worker in self._workers:
                    worker.kill()

    def _step(self) -> None:
        """Submit chunks, wait for events, handle them, and check deadlines."""
        for worker in self._workers:
            worker.poll()
            self._fill(worker)
        starting = {id(w.ready_ref): w for w in self._workers if w.ready_ref is not None}
        streaming = {id(w.chunks[0].events): w for w in self._workers if w.chunks}
        refs = [w.ready_ref for w in starting.values()]
        refs += [w.chunks[0].events for w in streaming.values()]
        if refs:
            ready = wait(refs, 1, _POLL_SECONDS)
            if ready:
                ready = wait(refs, len(refs), 0)
        else:
            ready = []
            time.sleep(_POLL_SECONDS / 5)
        for ref in ready:
            if id(ref) in starting:
                self._on_ready(starting[id(ref)])
            else:
                self._on_event(streaming.pop(id(ref)))
        for worker in streaming.values():  # those without an event
            if worker.kill_if_overdue(self._deadline):
                logger.warning("no event for %g s; the actor is replaced", self._deadline)
        self._ledger.commit_if_due()
        self._replace_stalled()
        self._report_load()
        if self._layout.elastic and time.monotonic() > self._next_resize:
            self._next_resize = time.monotonic() + _NODES_SECONDS
            self._resize(actor_capacity(self._spec, live_nodes()))
        self._release_idle()

    def _resize(self, capacity: int) -> None:
        """Start or kill actors to match the capacity and the queue; keep those with an engine."""
        wanted = max(1, min(capacity, len(self._queue) + len(self._workers)))
        idle = [worker for worker in self._workers if not worker.is_ready and not worker.chunks]
        for worker in idle[: max(0, len(self._workers) - wanted)]:
            worker.kill()
            self._workers.remove(worker)
        new = min(wanted - len(self._workers), len(self._queue))
        self._workers += [Worker(self._layout, self._setup, self._kind) for _ in range(new)]

    def _release_idle(self) -> None:
        """Kill idle actors once the queue is empty: an idle GPU costs as much as a busy one.

        One actor stays, for items that others may still return to the queue.
        """
        if len(self._queue):
            return
        for worker in [w for w in self._workers if w.is_ready and not w.chunks]:
            if len(self._workers) > 1:
                worker.kill()
                self._workers.remove(worker)

    def _fill(self, worker: Worker) -> None:
        """Submit chunks until the worker has enough."""
        while worker.is_ready and len(worker.chunks) < MAX_CHUNKS and not self._breaker.is_open:
            chunk = self._queue.next_chunk(self._chunk_size, len(self._workers))
            if not chunk:
                return
            worker.submit(chunk)

    def _on_ready(self, worker: Worker) -> None:
        """Handle an actor's ready reply, or its death."""
        try:
            worker.on_ready()
            if not self._any_ready:
                self._on_progress(self._progress)
            self._any_ready = True
        except ActorDiedError as error:
            self._replace(worker, error)
        except RayActorError:
            worker.ping_soon()

    def _replace(self, worker: Worker, error: ActorDiedError) -> None:
        """Replace an actor that Ray no longer restarts.

        Raises:
            PoolError: no engine could be loaded.
        """
        if worker.was_ready:
            worker.spawn_later(0.0)
            return
        reason = load_failure(error)
        self._start_failed(worker, reason)
        if not self._any_ready and all(w.failed_starts for w in self._workers):
            raise PoolError(f"no engine could be started: {reason}")

    def _start_failed(self, worker: Worker, reason: str) -> None:
        """Start the actor again later, or drop it after too many failed starts."""
        worker.failed_starts += 1
        worker.spawn_later(min(2.0**worker.failed_starts, 30.0))
        if worker.failed_starts < _MAX_FAILED_STARTS:
            return
        self._workers.remove(worker)
        if not self._workers:
            raise PoolError(f"no engine could be started: {reason}")
        logger.error("an engine could not be started: %s; continuing without it", reason)

    def _replace_stalled(self) -> None:
        """Replace actors that exceed the load deadline."""
        now, deadline = time.monotonic(), self._spec.load_deadline
        if now < self._next_stall_check:
            return
        self._next_stall_check = now + min(_NODES_SECONDS, deadline / 4)
        for worker in list(self._workers):
            name, seconds = worker.loading()
            if not name or seconds <= deadline:
                continue
            reason = (
                f"{name} was still loading {self._models()} after {deadline:g} s; check that "
                "process and the storage it reads from, or set a longer load_deadline"
            )
            logger.warning("%s; its actor is replaced", reason)
            worker.kill()
            self._start_failed(worker, reason)

    def _models(self) -> str:
        """Return the names of the models that an actor loads."""
        engine = self._setup.engine
        loras = [lora.weights for lora in engine.loras]
        names = [engine.model, *loras, engine.encoder, engine.depth, engine.sam]
        return ", ".join(filter(None, names)) or "its engine"

    def _on_event(self, worker: Worker) -> None:
        """Handle the next event of a worker's oldest chunk."""
        chunk = worker.chunks[0]
        try:
            event = worker.next_event()
        except RayError as error:
            self._on_lost_chunk(worker, error)
            return
        if event is None:
            worker.chunks.popleft()
            self._queue.put_back(chunk.unfinished)
        elif isinstance(event, Started):
            chunk.started.update(event.keys)
        elif isinstance(event, PreparingReferences):
            self._on_progress(replace(self._progress, phase="preparing references"))
        else:
            self._record(chunk.finish(event), event)

    def _on_lost_chunk(self, worker: Worker, error: RayError) -> None:
        """Handle a chunk whose actor failed: blame an item in progress, requeue the others."""
        chunk = worker.chunks.popleft()
        suspects = chunk.in_progress()
        if worker.is_ready and isinstance(error, RayActorError):
            suspects += self._maybe_started(chunk, suspects)
        self._queue.put_back(a for a in chunk.unfinished if a not in suspects)
        if isinstance(error, ActorDiedError):
            self._replace(worker, error)
        elif isinstance(error, RayActorError) and worker.is_ready:
            worker.ping_soon()
        if not suspects:
            return
        self._breaker.record_death()
        if len(suspects) > 1:  # each is retried alone, which shows which of them is to blame
            for suspect in suspects:
                self._queue.retry(replace(suspect, alone=True))
            return
        late = f"it took longer than {self._spec.item_deadline:g} s"
        reason = late if worker.overdue else first_line(error)[:300]
        result = crash_result(suspects[0], reason, type(error).__name__, self._setup)
        self._record(suspects[0], result)

    def _maybe_started(self, chunk: InFlightChunk, started: list[Assignment]) -> list[Assignment]:
        """Return items that may have been started: an instant crash may lose its Started event.

        Those are the next group, unless the actor finishes each group before the next.
        """
        if started and (started[0].alone or not self._setup.overlap):
            return []
        rest = [assignment for assignment in chunk.unfinished if assignment not in started]
        return rest[: 1 if rest and rest[0].alone else self._setup.batch]

    def _record(self, assignment: Assignment, result: ItemResult) -> None:
        """Write a result into the ledger and retry the item after a transient error."""
        self._ledger.append(result)
        transient = result.error is not None and result.error.transient
        retried = transient and assignment.attempt < self._spec.max_attempts
        self._metrics.record(result, retried=retried)
        if retried:
            self._queue.retry(assignment)
            self._progress = replace(self._progress, retried=self._progress.retried + 1)
        else:
            self._progress = self._progress.with_result(result)
        self._on_progress(self._progress)
        self._breaker.record(result)

    def _report_load(self) -> None:
        """Update the metrics; warn now and then while no engine is loaded."""
        ready = sum(worker.is_ready for worker in self._workers)
        self._metrics.set_load(len(self._queue), ready)
        if ready:
            self._next_notice = time.monotonic() + _NOTICE_SECONDS
        elif time.monotonic() > self._next_notice:
            self._next_notice = time.monotonic() + _NOTICE_SECONDS
            loading = [name for name, _ in (w.loading() for w in self._workers) if name]
            if loading:
                logger.warning("no engine is ready yet: %s loads %s", loading[0], self._models())
            else:
                logger.warning("no engine is ready yet: waiting for CPUs or GPUs")


def crash_result(assignment: Assignment, reason: str, kind: str, setup: ActorSetup) -> ItemResult:
    """Return the result of an item whose engine process died.

    Args:
        assignment: The item and the number of the attempt.
        reason: How the process died, as far as known.
        kind: Class name of the error that reported the death.
        setup: The actor's settings.
    """
    item = assignment.item
    message = (
        f"the engine's process died on this item ({one_line(reason, 300)}) in each of "
        f"{assignment.attempt} attempts; check the photo's size and the machine's memory"
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
