"""What is still to be handed out: new items, those given back, those that wait for a retry."""

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from tasks.lease import Assignment

_LONGEST_PAUSE = 30.0


class Backlog:
    """A queue whose tail is a heap of items not due yet. Times are of `time.monotonic`."""

    def __init__(self, assignments: Iterable[Assignment]) -> None:
        self._queue = deque(assignments)
        self._later: list[tuple[float, int, Assignment]] = []
        self._tie = itertools.count()

    def __len__(self) -> int:
        return len(self._queue) + len(self._later)

    def take(self, most: int, workers: int) -> list[Assignment]:
        """Take a lease off the front: `most` items, fewer near the end so that all stay busy."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._queue.append(heapq.heappop(self._later)[2])
        share = math.ceil(len(self._queue) / (2 * max(workers, 1)))
        return [self._queue.popleft() for _ in range(min(most, share))]

    def give_back(self, assignments: Iterable[Assignment]) -> None:
        """Put items that were never begun back to the front, in their order."""
        self._queue.extendleft(reversed(list(assignments)))

    def retry(self, assignment: Assignment) -> None:
        """Put an item that was begun back, to be due after a pause that grows with its attempts.

        Its asset may have been written before its row was lost, so it is looked for.
        """
        pause = min(0.5 * 2**assignment.attempt, _LONGEST_PAUSE)
        again = replace(assignment, attempt=assignment.attempt + 1, adopt=True)
        heapq.heappush(self._later, (time.monotonic() + pause, next(self._tie), again))
