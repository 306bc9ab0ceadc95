"""Measure a block of code: seconds, UNet calls, floating-point operations, memory."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from stylegallery.models.diffusion import Models

_CLEAR = Path("/proc/self/clear_refs")
_FORWARD_AND_BACK = 3  # forward passes that a call with gradients counts for


@dataclass
class Reading:
    """Cost of a block of code.

    Attributes:
        seconds: Wall time.
        plain: Images that passed the UNet without gradients.
        steered: Images that passed it with gradients.
        peak: Peak memory in bytes, of the GPU or of the whole process.
    """

    seconds: float = 0.0
    plain: int = 0
    steered: int = 0
    peak: int = 0

    @property
    def equivalents(self) -> int:
        """UNet forward passes; one with gradients counts as three."""
        return self.plain + _FORWARD_AND_BACK * self.steered


@contextmanager
def metered(models: Models) -> Iterator[Reading]:
    """Measure the block; the reading is complete at its end."""
    reading = Reading()

    def count(_module: Any, arguments: tuple[Any, ...]) -> None:
        latent = arguments[0]
        if torch.is_grad_enabled() and latent.requires_grad:
            reading.steered += len(latent)
        else:
            reading.plain += len(latent)

    hook = models.unet.register_forward_pre_hook(count)
    gpu = models.device.type == "cuda"
    _forget_peak(gpu)
    begin = _now(gpu)
    try:
        yield reading
    finally:
        reading.seconds = _now(gpu) - begin
        reading.peak = _peak(gpu)
        hook.remove()


def unet_flops(models: Models, latent: tuple[int, int], batch: int) -> tuple[int, int]:
    """Return the floating-point operations of a UNet call without and with gradients.

    They are counted, not estimated: weights are frozen, so gradients cost about as much as the
    call itself, not twice as much.
    """
    size = (batch, models.unet.config.in_channels, *latent)
    start = torch.zeros(size, device=models.device)

    def plain() -> None:
        with torch.no_grad():
            models.denoise(start, 500)

    def steered() -> None:
        leaf = start.clone().requires_grad_()
        models.denoise(leaf, 500).sum().backward()

    return _flops(plain), _flops(steered)


def matmul_peak(device: torch.device, dtype: torch.dtype, side: int, rounds: int = 10) -> float:
    """Return the largest number of floating-point operations per second of some matrix products."""
    gpu = device.type == "cuda"
    left = torch.randn(side, side, device=device).to(dtype)
    best = float("inf")
    for _ in range(rounds):
        begin = _now(gpu)
        left @ left
        best = min(best, _now(gpu) - begin)
    return 2 * side**3 / best


def _flops(work: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _now(gpu: bool) -> float:
    if gpu:
        torch.cuda.synchronize()
    return time.perf_counter()


def _forget_peak(gpu: bool) -> None:
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.exists():
        _CLEAR.write_text("5")  # Linux: resets the process's high-water mark


def _peak(gpu: bool) -> int:
    if gpu:
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        marks = [s for s in status.read_text().splitlines() if s.startswith("VmHWM")]
        return int(marks[0].split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
