"""The training loop of every phase: budget, learning rate, averaged weights, checkpoints, log."""

import copy
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Report = Callable[[str], None]
Batch = TypeVar("Batch")
LOG_STEPS = 50
TENTH = 0.1  # of the training: the averaged weights at this point are kept for comparison


@dataclass
class Budget:
    """A phase ends after `steps` steps or `minutes` minutes, whichever comes first.

    Attributes:
        steps: Number of optimizer steps.
        minutes: Wall time, summed over resumed runs.
        step: Steps done.
        seconds: Time spent.
        pause: Pause after this total number of steps; 0 does not pause.
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
        """Whether the phase ends or pauses here."""
        return self.progress >= 1.0 or 0 < self.pause <= self.step

    def rate(self, peak: float, warm_up: int = 100) -> float:
        """Return the learning rate: linear warm-up, then cosine decay to 3 % of `peak`."""
        fall = 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * self.progress))
        return peak * min(1.0, (self.step + 1) / warm_up) * fall


class LossLog:
    """Appends JSON lines to `losses.jsonl`."""

    def __init__(self, folder: Path) -> None:
        """Open the log in `folder`, which is created if missing."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "losses.jsonl"

    def write(self, **row: float | int | str) -> None:
        """Append a row."""
        with self._path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")


def prefetch(make: Callable[[int], Batch], first: int) -> Iterator[Batch]:
    """Yield `make(first)`, `make(first + 1)` and so on; each is computed while the last is used."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(make, first)
        for step in itertools.count(first + 1):
            batch, following = following.result(), pool.submit(make, step)
            yield batch


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        torch.save(state, part)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Let the block write a file beside `path`, then rename it to `path`."""
    part = path.with_name(f"{path.name}.part")
    yield part
    os.replace(part, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


class MovingAverage:
    """Exponential moving average of parameters; its decay warms up as (1 + n) / (10 + n)."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start from `module`; `decay` is the final decay per step, in [0, 1)."""
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Update the average by the parameters of `module`."""
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        ours: list[torch.Tensor] = list(self.module.parameters())
        theirs: list[torch.Tensor] = list(module.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - keep)


@dataclass
class Run:
    """A training phase and the state that its checkpoint holds.

    Attributes:
        name: Name of the phase, its checkpoint and its log rows.
        module: Trained module, on its training device.
        average: Averaged weights, the result of the phase.
        optimizer: AdamW over the parameters of `module` that require gradients.
        budget: Steps and minutes, used and allowed.
        rate: Peak learning rate.
        logged: Parts of the loss, averaged since the last row of the log.
    """

    name: str
    module: nn.Module
    average: MovingAverage
    optimizer: torch.optim.AdamW
    budget: Budget
    rate: float
    logged: dict[str, Tensor] = field(default_factory=dict)

    def record(self, **parts: Tensor) -> None:
        """Add the scalar parts of a step's loss to the next row of the log."""
        for name, value in parts.items():
            share = (
                value.detach() / LOG_STEPS
            )  # read only when logged, because reading synchronizes the GPU
            self.logged[name] = self.logged[name] + share if name in self.logged else share

    def save(self, folder: Path) -> None:
        """Write the checkpoint."""
        state: dict[str, Any] = {
            "module": self.module.state_dict(),
            "average": self.average.module.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "step": self.budget.step,
            "seconds": self.budget.seconds,
        }
        save_state(folder / f"{self.name}.pt", state)

    def load(self, folder: Path) -> bool:
        """Load the checkpoint in `folder`; return False if there is none."""
        state = load_state(folder / f"{self.name}.pt")
        if state is None:
            return False
        self.module.load_state_dict(state["module"])
        self.average.module.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.budget.step, self.budget.seconds = state["step"], state["seconds"]
        return True


def start(name: str, module: nn.Module, budget: Budget, rate: float, decay: float) -> Run:
    """Return a run at step 0 over the parameters of `module` that require gradients."""
    weights = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, rate, (0.9, 0.98), weight_decay=1e-3, fused=True)
    return Run(name, module, MovingAverage(module, decay), optimizer, budget, rate)


def train(
    run: Run, batches: Iterator[Batch],
    gradients: Callable[[Batch, torch.Generator], Tensor], seed: int, folder: Path,
    save_minutes: float, say: Report,
) -> None:  # fmt: skip
    """Train until the budget is used; save every `save_minutes` and at the end.

    A step with gradients that are not finite is skipped; the log counts such steps.

    Args:
        run: The phase to train.
        batches: Batches of the steps to come.
        gradients: Maps a batch, and a generator seeded by seed and step, to the loss, and writes
            the gradients to the module.
        seed: Seed of the run.
        folder: Folder of checkpoint and log.
        save_minutes: Minutes between checkpoints.
        say: Receives progress lines.
    """
    log, last, saved = LossLog(folder), time.monotonic(), time.monotonic()
    device = next(run.module.parameters()).device
    recent = torch.zeros((), device=device)
    weights = [p for group in run.optimizer.param_groups for p in group["params"]]
    try:
        while not run.budget.over:
            for group in run.optimizer.param_groups:
                group["lr"] = run.budget.rate(run.rate)
            generator = torch.Generator(device).manual_seed(seed * 1_000_003 + run.budget.step)
            value = gradients(next(batches), generator)
            norm = nn.utils.clip_grad_norm_(weights, 1.0)
            broken = 1 - torch.isfinite(norm).float()
            run.optimizer.found_inf = broken  # type: ignore[attr-defined]  # AdamW then skips the step, as with GradScaler
            run.optimizer.step()
            run.average.update(run.module)
            run.record(left_out=LOG_STEPS * broken)
            now, before = time.monotonic(), run.budget.progress
            run.budget.step, run.budget.seconds = (
                run.budget.step + 1,
                run.budget.seconds + now - last,
            )
            last, recent = now, recent + value
            if run.budget.step % LOG_STEPS == 0:
                _log(log, run, float(recent) / LOG_STEPS, say)
                recent.zero_()
            if before < TENTH <= run.budget.progress:
                state = run.average.module.state_dict()
                save_state(folder / f"{run.name}-tenth.pt", {"average": state})
            if now - saved > 60 * save_minutes:
                run.save(folder)
                saved = now
    finally:
        run.save(folder)


def _log(log: LossLog, run: Run, loss: float, say: Report) -> None:
    parts = {name: round(float(value), 5) for name, value in run.logged.items()}
    run.logged.clear()
    log.write(phase=run.name, step=run.budget.step, loss=round(loss, 6),
              minutes=round(run.budget.seconds / 60, 2), **parts)  # fmt: skip
    more = "".join(f" {name} {value:.4f}" for name, value in parts.items())
    say(f"{run.name} step {run.budget.step} loss {loss:.5f}{more} "
        f"{run.budget.seconds / 60:.1f} min")  # fmt: skip
