"""What is still to be handed out: new items, those given back, those that wait for a retry."""

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from tasks.messages import Assignment

_LONGEST_PAUSE = 30.0


class Backlog:
    """Items given back, then new ones as they are asked for, and a heap of those not due yet.

    Times are of `time.monotonic`.
    """

    def __init__(self, assignments: Iterable[Assignment], count: int) -> None:
        """Take `count` assignments, of which none is made before it is needed."""
        self._new, self._unmade = iter(assignments), count
        self._queue: deque[Assignment] = deque()
        self._later: list[tuple[float, int, Assignment]] = []
        self._tie = itertools.count()

    def __len__(self) -> int:
        return self._unmade + len(self._queue) + len(self._later)

    def take(self, most: int, workers: int) -> list[Assignment]:
        """Take a lease off the front: `most` items, fewer near the end so that all stay busy."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._queue.append(heapq.heappop(self._later)[2])
        ready = len(self._queue) + self._unmade
        share = min(most, math.ceil(ready / (2 * max(workers, 1))))
        lease = [self._queue.popleft() for _ in range(min(share, len(self._queue)))]
        fresh = list(islice(self._new, share - len(lease)))
        self._unmade -= len(fresh)
        return lease + fresh

    def give_back(self, assignments: Iterable[Assignment]) -> None:
        """Put items that were never begun back to the front, in their order."""
        self._queue.extendleft(reversed(list(assignments)))

    def retry(self, assignment: Assignment) -> None:
        """Put an item that was begun back, to be due after a pause that grows with its attempts.

        Its asset may have been written before its row was lost, so it is looked for.
        """
        pause = min(0.5 * 2**assignment.attempt, _LONGEST_PAUSE)
        again = replace(assignment, attempt=assignment.attempt + 1, may_exist=True)
        heapq.heappush(self._later, (time.monotonic() + pause, next(self._tie), again))
