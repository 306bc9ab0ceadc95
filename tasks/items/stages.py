"""The seconds that an item takes, stage by stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


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
