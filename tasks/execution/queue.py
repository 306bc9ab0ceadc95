"""The queue of items to assign: new items, returned items, and items that wait for a retry."""

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from tasks.messages import Assignment

_MAX_DELAY = 30.0


class WorkQueue:
    """Returned items first, then new ones, which are created on demand; retries join when due.

    Times are those of `time.monotonic`, in seconds.
    """

    def __init__(self, assignments: Iterable[Assignment], count: int) -> None:
        """Wrap an iterable of `count` assignments."""
        self._new, self._new_count = iter(assignments), count
        self._queue: deque[Assignment] = deque()
        self._delayed: list[tuple[float, int, Assignment]] = []
        self._tie_breaker = itertools.count()

    def __len__(self) -> int:
        return self._new_count + len(self._queue) + len(self._delayed)

    def next_chunk(self, most: int, workers: int) -> list[Assignment]:
        """Remove the next chunk: `most` items, or fewer near the end to keep all workers busy."""
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            self._queue.append(heapq.heappop(self._delayed)[2])
        available = len(self._queue) + self._new_count
        share = min(most, math.ceil(available / (2 * max(workers, 1))))
        returned = [self._queue.popleft() for _ in range(min(share, len(self._queue)))]
        new = list(islice(self._new, share - len(returned)))
        self._new_count -= len(new)
        return returned + new

    def put_back(self, assignments: Iterable[Assignment]) -> None:
        """Return items that were never started to the front, in order."""
        self._queue.extendleft(reversed(list(assignments)))

    def retry(self, assignment: Assignment) -> None:
        """Queue the next attempt at an item, after a delay that doubles with each attempt.

        The next attempt looks for an existing asset: the result may be lost although the asset
        was written.
        """
        delay = min(0.5 * 2**assignment.attempt, _MAX_DELAY)
        following = replace(assignment, attempt=assignment.attempt + 1, recover=True)
        heapq.heappush(
            self._delayed, (time.monotonic() + delay, next(self._tie_breaker), following)
        )
