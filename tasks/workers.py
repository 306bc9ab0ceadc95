"""One actor as the driver sees it: is it up, which leases does it hold, where is it in them."""

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import ray
from ray._private.state import actors as ray_actors
from ray.exceptions import ActorDiedError

from schemas.result import ItemResult
from tasks.actor import StyleActor
from tasks.cluster import Layout
from tasks.keys import ItemKey, key_of
from tasks.lease import ActorSetup, Assignment

logger = logging.getLogger(__name__)

WINDOW = 2
"""Leases that an actor holds: one in work, one waiting, so that it never idles."""
_RESTARTS = 4
_PING_PAUSE = 0.5


@dataclass
class Stream:
    """A lease in flight.

    Attributes:
        events: Ray's generator of what the actor yields.
        left: Items without a row, in order.
        begun: The items that the actor said it began, until their rows are here.
    """

    events: Any
    left: deque[Assignment]
    begun: set[ItemKey] = field(default_factory=set)

    def suspects(self) -> list[Assignment]:
        """Return the items that were in work."""
        return [a for a in self.left if key_of(a.item) in self.begun]

    def take(self, row: ItemResult) -> Assignment:
        """Return the item that a row is of, which it has now."""
        assignment = self.left.popleft()
        self.begun.remove(key_of(row))
        return assignment


class Worker:
    """An actor that Ray restarts a few times and the pool replaces after that."""

    def __init__(self, layout: Layout, setup: ActorSetup, kind: type[StyleActor]) -> None:
        self._layout, self._setup, self._kind = layout, setup, kind
        self.failed_starts = 0
        self.streams: deque[Stream] = deque()
        self.spawn()

    def spawn(self) -> None:
        """Ask Ray for a new process; it is pending until there is room for it."""
        options: dict[str, Any] = {
            "num_cpus": self._layout.cpus,
            "num_gpus": self._layout.gpus,
            "max_restarts": _RESTARTS,
            "max_task_retries": 0,  # Ray would repeat whole leases and hide the culprit
            "max_concurrency": 1,
            "scheduling_strategy": "SPREAD",
        }
        if self._layout.env:
            options["runtime_env"] = {"env_vars": self._layout.env}
        self.handle: Any = ray.remote(self._kind).options(**options).remote(self._setup)
        self.pid = 0
        self._loading = ("", 0.0)
        self.ever_up = False
        self.overdue = False
        self.clock = time.monotonic()
        self._spawn_at = float("inf")
        self.ask()

    @property
    def up(self) -> bool:
        """True from the answer of a loaded engine until its process is seen to end."""
        return self.pid > 0

    def ask(self, pause: float = 0.0) -> None:
        """Ask whether the engine is up, after a pause."""
        self.pid = 0
        self.ping: Any = None
        self._ping_at = time.monotonic() + pause
        self.tick()

    def ask_later(self) -> None:
        """Ask again soon: the process is being restarted."""
        self.ask(_PING_PAUSE)

    def spawn_later(self, pause: float) -> None:
        """Replace an actor that Ray has given up, after a pause."""
        self.pid = 0
        self.ping = None
        self._ping_at = float("inf")
        self._spawn_at = time.monotonic() + pause

    def tick(self) -> None:
        """Do what is due: spawn or ask."""
        now = time.monotonic()
        if now >= self._spawn_at and not self.streams:
            self.spawn()
        elif self.ping is None and now >= self._ping_at:
            self._ping_at = float("inf")
            self.ping = self.handle.ready.remote()

    def answer(self) -> None:
        """Take the answer that has arrived.

        Raises:
            RayActorError: there is none, the process is gone.
        """
        ping, self.ping = self.ping, None
        self.pid = ray.get(ping)
        self.ever_up, self.overdue, self.failed_starts = True, False, 0
        self.clock = time.monotonic()

    def send(self, lease: list[Assignment]) -> None:
        """Hand a lease over."""
        if not self.streams:
            self.clock = time.monotonic()
        events = self.handle.run.options(num_returns="streaming").remote(lease)
        self.streams.append(Stream(events, deque(lease)))

    def receive(self) -> Any:
        """Return the next event of the oldest lease, or None at its end.

        Raises:
            RayError: the process is gone, or the actor's own code is at fault.
        """
        self.clock = time.monotonic()
        try:
            return ray.get(next(self.streams[0].events))
        except StopIteration:
            return None

    def kill_if_overdue(self, deadline: float) -> bool:
        """End the process when its present item takes too long; Ray restarts it."""
        if not self.up or not self.streams or self.overdue:
            return False
        if time.monotonic() - self.clock <= deadline:
            return False
        self.overdue = True
        ray.kill(self.handle, no_restart=False)
        return True

    def loads_since(self) -> tuple[str, float]:
        """Return which process loads the engine, and for how many seconds; no name for none.

        None does while the engine is up, or while Ray still looks for room.
        """
        name = ""
        if self.ping is not None and not self.up:
            about = ray_actors(self.handle._actor_id.hex())  # Ray's public API tells no such thing
            name = f"process {about['Pid']} on {about['Address']['IPAddress']}"
            name = name if about["Pid"] else ""
        if name != self._loading[0]:
            self._loading = (name, time.monotonic())
        return name, time.monotonic() - self._loading[1]

    def end(self) -> None:
        """End the process for good."""
        try:
            ray.kill(self.handle, no_restart=True)
        except Exception as error:  # Ray itself may be gone, and its actors with it
            logger.debug("an actor could not be ended: %s", error)


def start_reason(error: ActorDiedError) -> str:
    """Return why an engine could not be loaded: the last line of Ray's account of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "unknown"
