"""The pieces of the decoder's inverse: find a pixel's place in its cell, route numbers there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import nn

GAIN = 500.0  # differences between cells above 1 / GAIN count in full
BEFORE = ((0, 1), (1, 0))  # kernel position of the pixel above, of the pixel to the left


@dataclass(frozen=True)
class Route:
    """Numbers of a cell to those of its four quarters.

    Attributes:
        weight: (2, 2, n_out, n_in), by row and column of the quarter.
        constant: (2, 2, n_out), None for zeros.
        lift_in: added to incoming numbers so that they are positive.
        lift_out: added to outgoing numbers.
    """

    weight: torch.Tensor
    constant: torch.Tensor | None
    lift_in: float
    lift_out: float

    def offsets(self) -> torch.Tensor:
        """(2, 2, n_out): what a quarter adds once the incoming lift is taken off."""
        lifted = self.lift_in * self.weight.sum(-1)
        return (0.0 if self.constant is None else self.constant) - lifted


def watch_cells(up: nn.Conv2d, block: AutoencoderTinyBlock, channels: int, probes: int) -> None:
    """Pass the latents and put the flags of first row and first column on channels 38 and 39.

    Channels 24 to 37 hold, for ``probes`` random views, the step from the pixel before.
    """
    views = nn.functional.normalize(torch.randn(probes, channels))
    one, two, three = block.conv[0], block.conv[2], block.conv[4]
    up.weight[range(channels), range(channels), 1, 1] = 1.0
    for axis, before in enumerate(BEFORE):
        for k in range(probes):
            step = 24 + axis * probes + k
            up.weight[step, :channels, 1, 1] = views[k]
            up.weight[step, :channels, before[0], before[1]] = -views[k]
            for sign in (0, 1):
                hidden = 2 * (axis * probes + k) + sign
                one.weight[hidden, step, 1, 1] = 1.0 - 2.0 * sign
                two.weight[axis, hidden, 1, 1] = -GAIN
        two.bias[axis] = 1.0
        three.weight[38 + axis, axis, 1, 1] = -1.5  # some way past 1, so that noise is cut off
        three.bias[38 + axis] = 1.0


def watch_flags(up: nn.Conv2d, flags: tuple[int, int], moves: list[tuple[int, int]]) -> None:
    """Move channels (to, from), adding up, and append the steps of the two flags after them.

    Flags alternate from pixel to pixel, so the step is +-1 at every first copy.
    """
    for target, source in moves:
        up.weight[target, source, 1, 1] = 1.0
    steps = max(target for target, _ in moves) + 1
    for axis, before in enumerate(BEFORE):
        up.weight[steps + axis, flags[axis], 1, 1] = 1.0
        up.weight[steps + axis, flags[axis], before[0], before[1]] = -1.0


def route_early(block: AutoencoderTinyBlock, route: Route) -> None:
    """Route channels 0.. by flags 38 and 39 to channels 40.., lifted."""
    one, two, three = block.conv[0], block.conv[2], block.conv[4]
    n_out, n_in = route.weight.shape[2:]
    _rows(one, list(range(n_in)), [38], route.lift_in)
    one.weight[2 * n_in, 38, 1, 1] = 1.0
    one.weight[2 * n_in + 1, 39, 1, 1] = 1.0
    _columns(two, 0, 2 * n_in, route)
    for k in range(2 * n_out):
        three.weight[40 + k % n_out, k, 1, 1] = 1.0


def route_late(
    block: AutoencoderTinyBlock, route: Route, start: int, flags: tuple[int, int] | None = None
) -> None:
    """Route channels 0.. by the flag steps after them to channels ``start``.., lifted.

    The two columns come out on channels of their own, one of them zero: the next layer adds them.

    Args:
        block: nothing but zeros so far.
        route: n_in incoming and n_out outgoing numbers.
        start: first of 2 n_out channels that are zero so far.
        flags: where to put the flags of first row and first column, None if not needed.
    """
    one, two, three = block.conv[0], block.conv[2], block.conv[4]
    n_in = route.weight.shape[3]
    one.weight[range(n_in), range(n_in), 1, 1] = 1.0
    for k in range(4):
        one.weight[n_in + k, n_in + k // 2, 1, 1] = 1.0 - 2.0 * (k % 2)
    _rows(two, list(range(n_in)), [n_in, n_in + 1], route.lift_in)
    for k in range(4):
        two.weight[2 * n_in + k // 2, n_in + k, 1, 1] = 1.0
    _columns(three, start, 2 * n_in, route)
    for axis, flag in enumerate(flags or ()):
        three.weight[flag, 2 * n_in + axis, 1, 1] = 1.0


def bias(conv: nn.Conv2d) -> torch.Tensor:
    """The bias of a convolution that has one."""
    if conv.bias is None:
        raise ValueError("this convolution has no bias")
    return conv.bias


def _rows(conv: nn.Conv2d, channels: list[int], flag: list[int], lift: float) -> None:
    """Copy ``channels`` twice: the first copy lives in first rows, the second in the others."""
    n = len(channels)
    for k, channel in enumerate(channels):
        conv.weight[[k, n + k], channel, 1, 1] = 1.0
        bias(conv)[k] = -2 * lift
        for f in flag:
            conv.weight[k, f, 1, 1] += 2 * lift
            conv.weight[n + k, f, 1, 1] -= 2 * lift


def _columns(conv: nn.Conv2d, start: int, flag: int, route: Route) -> None:
    """Mix the two copies of :func:`_rows`, one result for first columns and one for the others.

    ``flag`` holds the row flag, ``flag + 1`` the column flag.
    """
    n_out, n_in = route.weight.shape[2:]
    offsets, lift = route.offsets(), route.lift_out
    for column in range(2):
        rows = slice(start + column * n_out, start + (column + 1) * n_out)
        for row in range(2):
            part = slice(row * n_in, (row + 1) * n_in)
            conv.weight[rows, part, 1, 1] = route.weight[row, column]
        conv.weight[rows, flag, 1, 1] = offsets[0, column] - offsets[1, column]
        conv.weight[rows, flag + 1, 1, 1] = 2 * lift if column == 0 else -2 * lift
        bias(conv)[rows] = offsets[1, column] + (-lift if column == 0 else lift)
