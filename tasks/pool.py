"""The driver of a run: hands leases to the actors and turns whatever happens into rows.

Ray repeats nothing by itself. This loop owns retries, blame and deadlines: an actor says which
item it begins, so when it dies exactly that item is the suspect and all others go back unblamed.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import replace

from ray.exceptions import ActorDiedError, RayActorError, RayError

from schemas.result import ItemResult
from schemas.run import PoolSpec
from tasks.actor import StyleActor
from tasks.backlog import Backlog
from tasks.breaker import Breaker
from tasks.cluster import Layout, live_nodes, room_for, wait
from tasks.errors import PoolError
from tasks.lease import ActorSetup, Assignment, PreparingReferences, Started
from tasks.ledger import Ledger
from tasks.progress import OnProgress, Progress
from tasks.rows import casualty
from tasks.watch import Watch
from tasks.workers import WINDOW, Stream, Worker, start_reason

__all__ = ["Pool", "Progress"]

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_FAILED_STARTS = 5
_WAITING_NOTICE = 60.0
_LOOK_AT_NODES = 10.0


class Pool:
    """Drives actors until every item has its row."""

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
        self._ledger, self._progress, self._tell = ledger, progress, on_progress
        self._watch = Watch()
        self._kind = kind
        self._workers: list[Worker] = []
        self._lease = max(spec.lease, setup.batch)
        self._deadline = spec.item_deadline * setup.batch
        self._began = False
        self._breaker = Breaker()
        self._notice = time.monotonic() + _WAITING_NOTICE
        self._look = time.monotonic() + _LOOK_AT_NODES
        self._look_at_loads = 0.0

    def run(self, assignments: Iterable[Assignment], count: int) -> None:
        """Do `count` items; when this is left, however it is, the rows so far are in the ledger.

        Raises:
            PoolError: engines cannot start or keep dying, so that no item is to blame.
            StorageError: the ledger cannot be written.
        """
        self._backlog = Backlog(assignments, count)
        try:
            self._resize(self._layout.actors)
            self._tell(replace(self._progress, phase="loading the engine"))
            while len(self._backlog) or any(worker.streams for worker in self._workers):
                self._step()
        finally:
            try:
                self._ledger.commit()
            finally:
                for worker in self._workers:
                    worker.end()

    def _step(self) -> None:
        for worker in self._workers:
            worker.tick()
            self._fill(worker)
        waiting = {id(w.ping): w for w in self._workers if w.ping is not None}
        reading = {id(w.streams[0].events): w for w in self._workers if w.streams}
        watched = [w.ping for w in waiting.values()]
        watched += [w.streams[0].events for w in reading.values()]
        if watched:
            ready = wait(watched, 1, _POLL_SECONDS)
            if ready:
                ready = wait(watched, len(watched), 0)
        else:
            ready = []
            time.sleep(_POLL_SECONDS / 5)
        for found in ready:
            if id(found) in waiting:
                self._hear(waiting[id(found)])
            else:
                self._read(reading.pop(id(found)))
        for worker in reading.values():  # those without news
            if worker.kill_if_overdue(self._deadline):
                logger.warning("no news for %g s; the actor is replaced", self._deadline)
        self._ledger.commit_if_due()
        self._replace_stalled()
        self._notice_waiting()
        if self._layout.elastic and time.monotonic() > self._look:
            self._look = time.monotonic() + _LOOK_AT_NODES
            self._resize(room_for(self._spec, live_nodes()))
        self._release_idle()

    def _resize(self, room: int) -> None:
        """Have as many actors as there is room for and work; those in work are never ended."""
        wanted = max(1, min(room, len(self._backlog) + len(self._workers)))
        idle = [worker for worker in self._workers if not worker.up and not worker.streams]
        for worker in idle[: max(0, len(self._workers) - wanted)]:
            worker.end()
            self._workers.remove(worker)
        new = min(wanted - len(self._workers), len(self._backlog))
        self._workers += [Worker(self._layout, self._setup, self._kind) for _ in range(new)]

    def _release_idle(self) -> None:
        """Give back what nothing is left for, while others finish: a GPU that waits costs as much.

        One actor stays for what the others may yet give back.
        """
        if len(self._backlog):
            return
        for worker in [w for w in self._workers if w.up and not w.streams]:
            if len(self._workers) > 1:
                worker.end()
                self._workers.remove(worker)

    def _fill(self, worker: Worker) -> None:
        while worker.up and len(worker.streams) < WINDOW and not self._breaker.holds:
            lease = self._backlog.take(self._lease, len(self._workers))
            if not lease:
                return
            worker.send(lease)

    def _hear(self, worker: Worker) -> None:
        """An actor answered, or cannot any more."""
        try:
            worker.answer()
            if not self._began:
                self._tell(self._progress)
            self._began = True
        except ActorDiedError as error:
            self._replace(worker, error)
        except RayActorError:
            worker.ask_later()

    def _replace(self, worker: Worker, error: ActorDiedError) -> None:
        if worker.ever_up:
            worker.spawn_later(0.0)
            return
        reason = start_reason(error)
        self._not_started(worker, reason)
        if not self._began and all(w.failed_starts for w in self._workers):
            raise PoolError(f"no engine could be started: {reason}")

    def _not_started(self, worker: Worker, reason: str) -> None:
        """Try again later, or go on without an actor that has been tried often enough."""
        worker.failed_starts += 1
        worker.spawn_later(min(2.0**worker.failed_starts, 30.0))
        if worker.failed_starts < _FAILED_STARTS:
            return
        self._workers.remove(worker)
        if not self._workers:
            raise PoolError(f"no engine could be started: {reason}")
        logger.error("an engine could not be started: %s; going on without it", reason)

    def _replace_stalled(self) -> None:
        """End actors that have been loading their engine for too long; another may get through."""
        now, deadline = time.monotonic(), self._spec.load_deadline
        if now < self._look_at_loads:
            return
        self._look_at_loads = now + min(_LOOK_AT_NODES, deadline / 4)
        for worker in list(self._workers):
            name, seconds = worker.loads_since()
            if not name or seconds <= deadline:
                continue
            reason = (
                f"{name} was still loading {self._models()} after {deadline:g} s; look at that "
                "process and at where it reads from, or set a longer load_deadline"
            )
            logger.warning("%s; its actor is replaced", reason)
            worker.end()
            self._not_started(worker, reason)

    def _models(self) -> str:
        engine = self._setup.engine
        loras = [lora.weights for lora in engine.loras]
        found = [engine.model, *loras, engine.encoder, engine.depth, engine.sam]
        return ", ".join(filter(None, found)) or "its engine"

    def _read(self, worker: Worker) -> None:
        """The oldest lease of an actor has news."""
        stream = worker.streams[0]
        try:
            event = worker.receive()
        except RayError as error:
            self._lost(worker, error)
            return
        if event is None:
            worker.streams.popleft()
            self._backlog.give_back(stream.left)
        elif isinstance(event, Started):
            stream.begun.update(event.keys)
        elif isinstance(event, PreparingReferences):
            self._tell(replace(self._progress, phase="preparing references"))
        else:
            self._take(stream.take(event), event)

    def _lost(self, worker: Worker, error: RayError) -> None:
        """A lease ended before its last row: blame an item in work, give the others back."""
        stream = worker.streams.popleft()
        suspects = stream.suspects()
        if worker.up and isinstance(error, RayActorError):
            suspects += self._unannounced(stream, suspects)
        self._backlog.give_back(a for a in stream.left if a not in suspects)
        if isinstance(error, ActorDiedError):
            self._replace(worker, error)
        elif isinstance(error, RayActorError) and worker.up:
            worker.ask_later()
        if not suspects:
            return
        self._breaker.death()
        if len(suspects) > 1:
            for suspect in suspects:
                self._backlog.retry(replace(suspect, alone=True))
            return
        late = f"it took longer than {self._spec.item_deadline:g} s"
        why = late if worker.overdue else _first_line(error)
        self._take(suspects[0], casualty(suspects[0], why, type(error).__name__, self._setup))

    def _unannounced(self, stream: Stream, begun: list[Assignment]) -> list[Assignment]:
        """Return items that may have been begun as well: what kills at once takes its marker along.

        Those are the next group, unless the one before has to be over first.
        """
        if begun and (begun[0].alone or not self._setup.overlap):
            return []
        rest = [assignment for assignment in stream.left if assignment not in begun]
        return rest[: 1 if rest and rest[0].alone else self._setup.batch]

    def _take(self, assignment: Assignment, row: ItemResult) -> None:
        """Write a row down, and try again if that may help."""
        self._ledger.append(row)
        passing = row.error is not None and row.error.transient
        again = passing and assignment.attempt < self._spec.max_attempts
        self._watch.row(row, again=again)
        if again:
            self._backlog.retry(assignment)
            self._progress = replace(self._progress, retried=self._progress.retried + 1)
        else:
            self._progress = self._progress.with_row(row)
        self._tell(self._progress)
        self._breaker.row(row)

    def _notice_waiting(self) -> None:
        up = sum(worker.up for worker in self._workers)
        self._watch.load(len(self._backlog), up)
        if up:
            self._notice = time.monotonic() + _WAITING_NOTICE
        elif time.monotonic() > self._notice:
            self._notice = time.monotonic() + _WAITING_NOTICE
            loading = [name for name, _ in (w.loads_since() for w in self._workers) if name]
            if loading:
                logger.warning("no engine is up yet: %s loads %s", loading[0], self._models())
            else:
                logger.warning("no engine is up yet: waiting for CPUs or GPUs")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
