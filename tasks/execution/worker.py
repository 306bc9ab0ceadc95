"""The driver's handle of one actor: its start, its chunks in flight, its deadline."""

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import ray
from ray._private.state import actors as ray_actors
from ray.exceptions import ActorDiedError

from schemas.result import ItemResult
from tasks.cluster.session import Layout
from tasks.execution.actor import StyleActor
from tasks.messages import ActorSetup, Assignment
from tasks.records.item_key import ItemKey, key_of

logger = logging.getLogger(__name__)

MAX_CHUNKS = 2
"""Chunks per actor: one in progress, one queued, so that the actor never idles."""
_RESTARTS = 4
_PING_DELAY = 0.5


@dataclass
class InFlightChunk:
    """A chunk of items that was submitted to an actor.

    Attributes:
        events: Ray's generator of the actor's events.
        unfinished: Items without a result, in order.
        started: Keys of the items that the actor has started and not finished.
    """

    events: Any
    unfinished: deque[Assignment]
    started: set[ItemKey] = field(default_factory=set)

    def in_progress(self) -> list[Assignment]:
        """Return the items that the actor has started and not finished."""
        return [a for a in self.unfinished if key_of(a.item) in self.started]

    def finish(self, result: ItemResult) -> Assignment:
        """Remove and return the assignment to which a result belongs: results come in order."""
        assignment = self.unfinished.popleft()
        self.started.remove(key_of(result))
        return assignment


class Worker:
    """An actor. Ray restarts its process a few times; after that :meth:`spawn` replaces it.

    Attributes:
        chunks: Chunks in flight, oldest first.
        ready_ref: Ray's reference to the pending answer of :meth:`StyleActor.ready`, or None.
        was_ready: True once the present actor has loaded its engine.
        failed_starts: Failed attempts in a row to load the engine.
        overdue: True after :meth:`kill_if_overdue` has killed the process.
    """

    def __init__(self, layout: Layout, setup: ActorSetup, kind: type[StyleActor]) -> None:
        self._layout, self._setup, self._kind = layout, setup, kind
        self.failed_starts = 0
        self.chunks: deque[InFlightChunk] = deque()
        self.spawn()

    def spawn(self) -> None:
        """Create a new Ray actor; it stays pending until the cluster has room for it."""
        options: dict[str, Any] = {
            "num_cpus": self._layout.cpus,
            "num_gpus": self._layout.gpus,
            "max_restarts": _RESTARTS,
            "max_task_retries": 0,  # Ray would repeat whole chunks, which hides the faulty item
            "max_concurrency": 1,
            "scheduling_strategy": "SPREAD",
        }
        if self._layout.env:
            options["runtime_env"] = {"env_vars": self._layout.env}
        self.handle: Any = ray.remote(self._kind).options(**options).remote(self._setup)
        self._pid = 0
        self._loading = ("", 0.0)
        self.was_ready = False
        self.overdue = False
        self._last_event = time.monotonic()
        self._spawn_at = float("inf")
        self.ping()

    @property
    def is_ready(self) -> bool:
        """True from the moment the engine is loaded until the process is known to be dead."""
        return self._pid > 0

    def ping(self, delay: float = 0.0) -> None:
        """Ask the actor, after a delay in seconds, to report that its engine is loaded."""
        self._pid = 0
        self.ready_ref: Any = None
        self._ping_at = time.monotonic() + delay
        self.poll()

    def ping_soon(self) -> None:
        """Ask again after a short delay, while Ray restarts the process."""
        self.ping(_PING_DELAY)

    def spawn_later(self, delay: float) -> None:
        """Replace an actor that Ray no longer restarts, after a delay in seconds."""
        self._pid = 0
        self.ready_ref = None
        self._ping_at = float("inf")
        self._spawn_at = time.monotonic() + delay

    def poll(self) -> None:
        """Spawn the actor or ping it, when that is due."""
        now = time.monotonic()
        if now >= self._spawn_at and not self.chunks:
            self.spawn()
        elif self.ready_ref is None and now >= self._ping_at:
            self._ping_at = float("inf")
            self.ready_ref = self.handle.ready.remote()

    def on_ready(self) -> None:
        """Handle the answer to a ping.

        Raises:
            RayActorError: the process died instead.
        """
        ready_ref, self.ready_ref = self.ready_ref, None
        self._pid = ray.get(ready_ref)
        self.was_ready, self.overdue, self.failed_starts = True, False, 0
        self._last_event = time.monotonic()

    def submit(self, chunk: list[Assignment]) -> None:
        """Submit a chunk of items to the actor."""
        if not self.chunks:
            self._last_event = time.monotonic()
        events = self.handle.run.options(num_returns="streaming").remote(chunk)
        self.chunks.append(InFlightChunk(events, deque(chunk)))

    def next_event(self) -> Any:
        """Return the next event of the oldest chunk, or None at its end.

        Raises:
            RayError: the process died, or the actor's own code failed.
        """
        self._last_event = time.monotonic()
        try:
            return ray.get(next(self.chunks[0].events))
        except StopIteration:
            return None

    def kill_if_overdue(self, deadline: float) -> bool:
        """Kill the process after `deadline` seconds without an event; Ray restarts it."""
        if not self.is_ready or not self.chunks or self.overdue:
            return False
        if time.monotonic() - self._last_event <= deadline:
            return False
        self.overdue = True
        ray.kill(self.handle, no_restart=False)
        return True

    def loading(self) -> tuple[str, float]:
        """Return the name of the process that loads the engine, and for how many seconds.

        The name is empty when the engine is loaded or the actor is still pending.
        """
        name = ""
        if self.ready_ref is not None and not self.is_ready:
            state = ray_actors(self.handle._actor_id.hex())  # no public API gives the process id
            name = f"process {state['Pid']} on {state['Address']['IPAddress']}"
            name = name if state["Pid"] else ""
        if name != self._loading[0]:
            self._loading = (name, time.monotonic())
        return name, time.monotonic() - self._loading[1]

    def kill(self) -> None:
        """Kill the process for good."""
        try:
            ray.kill(self.handle, no_restart=True)
        except Exception as error:  # Ray itself may be gone, and its actors with it
            logger.debug("an actor could not be killed: %s", error)


def load_failure(error: ActorDiedError) -> str:
    """Return why an engine could not be loaded: the last line of Ray's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "unknown"
