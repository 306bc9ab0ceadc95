"""Decoded images."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded image: sRGB, upright.

    Attributes:
        pixels: (1, 3, H, W) float32 in [0, 1], on the CPU.
        alpha: (1, 1, H, W) float32 in [0, 1], or None for an opaque image.
    """

    pixels: Tensor
    alpha: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.pixels.shape[-2]), int(self.pixels.shape[-1])
