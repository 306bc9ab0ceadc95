"""Inception v3 trained on art, the encoder of ArtFID, from a weight file of the user.

The network of Szegedy et al. (arXiv 1512.00567) with the weights of Wright and Ommer (ArtFID, arXiv
2207.12280) under torchvision's names. It is written out here because torchvision is no dependency.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.text import first_line
from stylegallery.errors import ModelNotFound
from stylegallery.images.codec import to_short_side
from stylegallery.metrics.external import read_weights

SIDE = 512
"""Short side of pictures in pixels, as in the results published with these weights."""

_EPSILON = 1e-3
_POOL, _MAX = "pool", "max"

_A = ("1x1",), ("5x5_1", "5x5_2"), ("3x3dbl_1", "3x3dbl_2", "3x3dbl_3"), (_POOL, "_pool")
_B = ("3x3/",), ("3x3dbl_1", "3x3dbl_2", "3x3dbl_3/"), (_MAX,)
_C = (
    ("1x1",),
    ("7x7_1", "7x7_2", "7x7_3"),
    ("7x7dbl_1", "7x7dbl_2", "7x7dbl_3", "7x7dbl_4", "7x7dbl_5"),
    (_POOL, "_pool"),
)
_D = ("3x3_1", "3x3_2/"), ("7x7x3_1", "7x7x3_2", "7x7x3_3", "7x7x3_4/"), (_MAX,)
_E = (
    ("1x1",),
    ("3x3_1", "3x3_2a|3x3_2b"),
    ("3x3dbl_1", "3x3dbl_2", "3x3dbl_3a|3x3dbl_3b"),
    (_POOL, "_pool"),
)
_BLOCKS = {
    **{f"Mixed_5{letter}": _A for letter in "bcd"},
    "Mixed_6a": _B,
    **{f"Mixed_6{letter}": _C for letter in "bcde"},
    "Mixed_7a": _D,
    **{f"Mixed_7{letter}": _E for letter in "bc"},
}
"""Branches of each block. `/` means stride 2 without padding; `|` joins parallel convolutions."""


class ArtInception:
    """The network up to its last pooling layer."""

    def __init__(self, weights: str | Path) -> None:
        """Load the network.

        Args:
            weights: The authors' art_inception.pth, or any Inception v3 under torchvision's names.

        Raises:
            ModelNotFound: the file is missing or not Inception v3.
        """
        self._weights = read_weights(weights, "FID over art", "ArtFID's art_inception.pth")
        try:
            with torch.no_grad():
                self._features(torch.zeros(1, 3, 75, 75))
        except (KeyError, RuntimeError) as error:
            reason = first_line(error)[:200]
            raise ModelNotFound(f"{weights} holds no Inception v3 ({reason}).") from error

    @torch.no_grad()
    def describe(self, pixels: Tensor) -> Tensor:
        """Return the (1, 2048) features of (1, 3, H, W) in [0, 1], not normalized further."""
        return self._features(to_short_side(pixels, SIDE))

    def _features(self, hidden: Tensor) -> Tensor:
        hidden = self._convolve("Conv2d_1a_3x3/", hidden)
        hidden = self._convolve("Conv2d_2a_3x3.", hidden)
        hidden = F.max_pool2d(self._convolve("Conv2d_2b_3x3", hidden), 3, 2)
        hidden = self._convolve("Conv2d_3b_1x1", hidden)
        hidden = F.max_pool2d(self._convolve("Conv2d_4a_3x3.", hidden), 3, 2)
        for name, branches in _BLOCKS.items():
            hidden = torch.cat([self._branch(name, steps, hidden) for steps in branches], 1)
        return hidden.mean((2, 3))

    def _branch(self, block: str, steps: tuple[str, ...], hidden: Tensor) -> Tensor:
        for step in steps:
            if step == _MAX:
                hidden = F.max_pool2d(hidden, 3, 2)
            elif step == _POOL:
                hidden = F.avg_pool2d(hidden, 3, 1, 1)
            else:
                sides = [f"{block}.branch{name}" for name in step.split("|")]
                hidden = torch.cat([self._convolve(side, hidden) for side in sides], 1)
        return hidden

    def _convolve(self, name: str, hidden: Tensor) -> Tensor:
        """Convolve, batch-normalize, ReLU; suffix `/` means stride 2, `/` and `.` no padding."""
        halved, bare = name.endswith("/"), name.endswith(("/", "."))
        name = name.rstrip("/.")
        kernel = self._weights[f"{name}.conv.weight"]
        padding = (0, 0) if bare else (kernel.shape[2] // 2, kernel.shape[3] // 2)
        hidden = F.conv2d(hidden, kernel, stride=2 if halved else 1, padding=padding)
        mean, variance, gain, shift = (
            self._weights[f"{name}.bn.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.relu(F.batch_norm(hidden, mean, variance, gain, shift, eps=_EPSILON))
