"""What every training phase shares: its budget, learning rate, checkpoint file and loss log."""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Report = Callable[[str], None]


@dataclass
class Budget:
    """A phase ends after ``steps`` steps or ``minutes`` minutes, whichever comes first.

    Args:
        steps: number of optimiser steps.
        minutes: wall time over all resumed parts.
        step: steps done.
        seconds: time spent so far.
        pause: stop for now after this many steps in all, 0 = do not.
    """

    steps: int
    minutes: float
    step: int = 0
    seconds: float = 0.0
    pause: int = 0

    @property
    def progress(self) -> float:
        """Share of the budget used, in [0, 1]."""
        by_time = self.seconds / (60 * self.minutes) if self.minutes > 0 else 1.0
        return min(1.0, max(self.step / max(self.steps, 1), by_time))

    @property
    def over(self) -> bool:
        """Whether the phase has to stop, for good or for now."""
        return self.progress >= 1.0 or 0 < self.pause <= self.step

    def rate(self, peak: float, warm_up: int = 100) -> float:
        """Learning rate: linear warm-up over ``warm_up`` steps, then cosine to 3 % of ``peak``."""
        fall = 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * self.progress))
        return peak * min(1.0, (self.step + 1) / warm_up) * fall


class Clock:
    """Adds the time since the last call to a budget."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def tick(self, budget: Budget) -> None:
        """Count one finished step."""
        now = time.monotonic()
        budget.seconds += now - self._last
        budget.step += 1
        self._last = now


class LossLog:
    """Appends one JSON object a line to ``losses.jsonl``."""

    def __init__(self, folder: Path) -> None:
        """Open the log in ``folder``, which is made if missing."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "losses.jsonl"

    def write(self, **row: float | int | str) -> None:
        """Append ``row``."""
        with self._path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far."""
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text().splitlines()]


def prefetch(make: Callable[[int], torch.Tensor], first: int) -> Iterator[torch.Tensor]:
    """``make(first)``, ``make(first + 1)`` and so on, each computed while the last is in use."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(make, first)
        for step in itertools.count(first + 1):
            batch, following = following.result(), pool.submit(make, step)
            yield batch


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint, or nothing where there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
