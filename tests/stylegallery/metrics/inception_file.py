"""A file of Inception v3 as torchvision names its weights, with seeded numbers in it."""

from pathlib import Path

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, int, int, int]]

_STEM: Shapes = {
    "Conv2d_1a_3x3": (32, 3, 3, 3),
    "Conv2d_2a_3x3": (32, 32, 3, 3),
    "Conv2d_2b_3x3": (64, 32, 3, 3),
    "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
}


def write_inception(place: Path) -> Path:
    """Write the file (48 MB: half precision) and return it."""
    torch.save({name: value.half() for name, value in inception_state().items()}, place)
    return place


def inception_state() -> dict[str, Tensor]:
    """Return the weights by torchvision's names, the same every time."""
    dice = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for name, shape in sorted(_shapes().items()):
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"{name}.conv.weight"] = torch.randn(shape, generator=dice) * (2 / fan_in) ** 0.5
        for part, spread, middle in (
            ("weight", 0.2, 1.0), ("bias", 0.2, 0.0), ("running_mean", 0.2, 0.0),
            ("running_var", 0.2, 1.0),
        ):  # fmt: skip
            state[f"{name}.bn.{part}"] = middle + spread * torch.rand(shape[0], generator=dice)
    return {name: value.half().float() for name, value in state.items()}


def _shapes() -> Shapes:
    shapes = dict(_STEM)
    for letter, width, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        shapes |= _named(letter, {
            "1x1": (64, width, 1, 1), "5x5_1": (48, width, 1, 1), "5x5_2": (64, 48, 5, 5),
            "3x3dbl_1": (64, width, 1, 1), "3x3dbl_2": (96, 64, 3, 3), "3x3dbl_3": (96, 96, 3, 3),
            "_pool": (pooled, width, 1, 1),
        })  # fmt: skip
    shapes |= _named("6a", {
        "3x3": (384, 288, 3, 3), "3x3dbl_1": (64, 288, 1, 1), "3x3dbl_2": (96, 64, 3, 3),
        "3x3dbl_3": (96, 96, 3, 3),
    })  # fmt: skip
    for letter, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        shapes |= _named(letter, {
            "1x1": (192, 768, 1, 1), "7x7_1": (c, 768, 1, 1), "7x7_2": (c, c, 1, 7),
            "7x7_3": (192, c, 7, 1), "7x7dbl_1": (c, 768, 1, 1), "7x7dbl_2": (c, c, 7, 1),
            "7x7dbl_3": (c, c, 1, 7), "7x7dbl_4": (c, c, 7, 1), "7x7dbl_5": (192, c, 1, 7),
            "_pool": (192, 768, 1, 1),
        })  # fmt: skip
    shapes |= _named("7a", {
        "3x3_1": (192, 768, 1, 1), "3x3_2": (320, 192, 3, 3), "7x7x3_1": (192, 768, 1, 1),
        "7x7x3_2": (192, 192, 1, 7), "7x7x3_3": (192, 192, 7, 1), "7x7x3_4": (192, 192, 3, 3),
    })  # fmt: skip
    for letter, width in (("7b", 1280), ("7c", 2048)):
        shapes |= _named(letter, {
            "1x1": (320, width, 1, 1), "3x3_1": (384, width, 1, 1), "3x3_2a": (384, 384, 1, 3),
            "3x3_2b": (384, 384, 3, 1), "3x3dbl_1": (448, width, 1, 1),
            "3x3dbl_2": (384, 448, 3, 3), "3x3dbl_3a": (384, 384, 1, 3),
            "3x3dbl_3b": (384, 384, 3, 1), "_pool": (192, width, 1, 1),
        })  # fmt: skip
    return shapes


def _named(block: str, branches: Shapes) -> Shapes:
    return {f"Mixed_{block}.branch{name}": shape for name, shape in branches.items()}
