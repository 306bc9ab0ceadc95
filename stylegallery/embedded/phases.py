"""Shows the decoder where inside a latent cell it is.

AutoencoderTiny upsamples by repeating pixels. A convolution cannot tell the copies apart, so it
cannot place an 8x8 patch; what it can see is on which side a pixel differs from its neighbour.
Here that is written into the fresh decoder: after each upsampling two channels hold 1 in the
first and 0 in the second of two copies, by rows and by columns. Training goes on from there.
"""

from __future__ import annotations

import itertools

import torch
from diffusers import AutoencoderTiny
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import nn

PROBES = 6  # random views of the latents whose steps between cells are watched
GAIN = 20.0  # how soon a step counts as one


@torch.no_grad()
def write_phases(vae: AutoencoderTiny) -> None:
    """Initialise the decoder of ``vae``; needs 32 channels and a block at every size."""
    first, stages = _stages(vae.decoder.layers)
    if first.out_channels < 4 * PROBES + 8 or not all(blocks for _, blocks in stages):
        raise ValueError("phases need at least 32 decoder channels and a block at every size")
    views = slice(0, PROBES)
    first.weight[views].zero_()
    first.weight[views, :, 1, 1] = nn.functional.normalize(torch.randn(PROBES, first.in_channels))
    first.weight[views, :, 1, 1] *= 4.0
    for block in stages[0][1]:
        _keep(block, views)
    watched = list(range(PROBES))
    for number, (up, blocks) in enumerate(stages[1:]):
        assert up is not None
        _watch(up, blocks[0], watched, GAIN if number == 0 else 1.0)
        for block in blocks[1:]:
            _keep(block, slice(0, 2))
        watched = [0, 1]


Stage = tuple[nn.Conv2d | None, list[AutoencoderTinyBlock]]


def _stages(layers: nn.Sequential) -> tuple[nn.Conv2d, list[Stage]]:
    """First convolution, then by resolution: the convolution after upsampling and the blocks."""
    stages: list[Stage] = [(None, [])]
    modules = list(layers)
    for before, module in itertools.pairwise(modules):
        if isinstance(module, AutoencoderTinyBlock):
            stages[-1][1].append(module)
        elif isinstance(before, nn.Upsample):
            stages.append((module, []))
    return modules[0], stages


def _keep(block: AutoencoderTinyBlock, channels: slice) -> None:
    """Let ``channels`` (not negative) pass a block unchanged."""
    last = block.conv[4]
    last.weight[channels].zero_()
    last.bias[channels].zero_()


def _watch(up: nn.Conv2d, block: AutoencoderTinyBlock, watched: list[int], gain: float) -> None:
    """Differences to the pixel above and to the left, their sizes, and 1 where there is one.

    Channels 0 and 1 become the row and the column phase, 2 and up hold the signed differences.
    """
    count = len(watched)
    up.weight[: 2 + 2 * count].zero_()
    one, two, three = block.conv[0], block.conv[2], block.conv[4]
    one.weight[: 4 * count].zero_()
    one.bias[: 4 * count].zero_()
    two.weight[:2].zero_()
    two.bias[:2] = 1.0
    for axis, (row, column) in enumerate(((0, 1), (1, 0))):
        for k, channel in enumerate(watched):
            signed = 2 + axis * count + k
            up.weight[signed, channel, 1, 1] = 1.0
            up.weight[signed, channel, row, column] = -1.0
            for sign in (0, 1):
                hidden = 2 * (axis * count + k) + sign
                one.weight[hidden, signed, 1, 1] = 1.0 - 2.0 * sign
                two.weight[axis, hidden, 1, 1] = -gain
    _keep(block, slice(0, 2))
    three.weight[[0, 1], [0, 1], 1, 1] = -1.0
    three.bias[:2] = 1.0
