"""Writes the linear inverse of the code into AutoencoderTiny's decoder, exactly.

The decoder upsamples by repeating pixels, and a convolution cannot tell the copies apart; it can
see, though, that a first copy differs from the pixel before it and a second does not. From this
each size derives two flags (first row, first column), and ReLUs let through the part of a patch
that belongs there: x + B - 2 B (1 - flag) is x + B or cut to zero. What is left over are residual
blocks that start at zero: they are trained, the rest stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderTiny
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import nn

from stylegallery.embedded.pca import SCALING, PatchCode
from stylegallery.embedded.routes import (
    Route,
    bias,
    route_early,
    route_late,
    watch_cells,
    watch_flags,
)

WIDTH, BLOCKS = 64, (4, 3, 2, 1)
MAX_CHANNELS, PROBES, PARTS = 24, 7, 24  # latents, watched views of them, numbers of a 4x4 patch
LIFT = (16.0, 6.0, 2.0, 2.0)  # B at 1/8, 1/4, 1/2 and full size
SPARE = 1.0  # B of the trained correction at 1/2 size


@dataclass(frozen=True)
class Trained:
    """What of a decoder is free to learn.

    Attributes:
        blocks: residual blocks: four at 1/8, one at 1/4 and one at 1/2 size.
        head: the decoder's layers at 1/8 size, run in float32 in training.
        trunk: those after, up to the last of ``blocks``.
    """

    blocks: tuple[AutoencoderTinyBlock, ...]
    head: nn.Sequential
    trunk: nn.Sequential

    def half_size(self, latents: torch.Tensor) -> torch.Tensor:
        """Picture without the last, fixed doubling, which only sorts numbers into pixels.

        Args:
            latents: (B, C, h, w) UNet-scale.

        Returns:
            (B, 3, 8h, 8w), about [0, 1].
        """
        with torch.autocast(latents.device.type, enabled=False):
            cells = self.head(3 * torch.tanh(latents / SCALING / 3))
        features = self.trunk(cells).float()
        parts = features[:, 28:40] + features[:, 40:52] + features[:, 52:64]
        return nn.functional.pixel_shuffle(parts - LIFT[2] - SPARE + 0.5, 2)


@torch.no_grad()
def write_inverse(vae: AutoencoderTiny, code: PatchCode) -> Trained:
    """Set the decoder of ``vae`` to the inverse of ``code``; at most 24 channels, width 64."""
    if code.channels > MAX_CHANNELS or vae.decoder.layers[0].out_channels != WIDTH:
        raise ValueError(f"the inverse needs width {WIDTH} and at most {MAX_CHANNELS} channels")
    first, doublings, blocks, last = _parts(vae.decoder.layers)
    learn = (*blocks[0], blocks[1][2], blocks[2][1])
    for module in (first, last, *doublings, *(b for row in blocks for b in row)):
        if module not in learn:
            _clear(module)
    n, to_quarter, constant, basis = (code.channels, *_quarter(code))
    first.weight[range(n), range(n), 1, 1] = SCALING
    bias(first)[:n] = LIFT[0]
    watch_cells(doublings[0], blocks[1][0], n, PROBES)
    route_early(blocks[1][1], Route(to_quarter, constant, LIFT[0], LIFT[1]))
    watch_flags(doublings[1], (38, 39), [(k, 40 + k) for k in range(PARTS)])
    route_late(blocks[2][0], Route(_halves(basis, 4), None, LIFT[1], LIFT[2]), 28, (26, 27))
    watch_flags(doublings[2], (26, 27), [(k % 12, 28 + k) for k in range(36)])
    route_late(blocks[3][0], Route(_halves(torch.eye(12), 2), None, LIFT[2] + SPARE, LIFT[3]), 14)
    for k in range(6):
        last.weight[k % 3, 14 + k, 1, 1] = 1.0
    bias(last)[:] = 0.5 - LIFT[3]
    _start(learn, n)
    layers = list(vae.decoder.layers)
    middle, end = layers.index(learn[3]) + 1, layers.index(learn[-1]) + 1
    return Trained(learn, vae.decoder.layers[:middle], vae.decoder.layers[middle:end])


def _parts(
    layers: nn.Sequential,
) -> tuple[nn.Conv2d, list[nn.Conv2d], list[list[AutoencoderTinyBlock]], nn.Conv2d]:
    """First convolution, those after upsampling, the blocks of every size, last convolution."""
    convolutions = [m for m in layers if isinstance(m, nn.Conv2d)]
    blocks = iter([m for m in layers if isinstance(m, AutoencoderTinyBlock)])
    rows = [[next(blocks) for _ in range(count)] for count in BLOCKS]
    return convolutions[0], convolutions[1:-1], rows, convolutions[-1]


def _clear(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.zero_().requires_grad_(False)


def _quarter(code: PatchCode) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents to the 24 best numbers of each 4x4 quarter of the patch.

    Returns:
        (2, 2, 24, channels) map, (2, 2, 24) constant, (48, 24) basis of 4x4 patches.
    """
    grid = code.inverse.reshape(3, 2, 4, 2, 4, -1).permute(1, 3, 0, 2, 4, 5).reshape(4, 48, -1)
    mean = (code.mean - 0.5).reshape(3, 2, 4, 2, 4).permute(1, 3, 0, 2, 4).reshape(4, 48, 1)
    every = torch.cat([grid, mean], 2).double()
    _, vectors = torch.linalg.eigh((every @ every.transpose(1, 2)).sum(0))
    basis = vectors[:, -PARTS:].float()
    shape = (2, 2, PARTS)
    return (basis.T @ grid).reshape(*shape, -1), (basis.T @ mean).reshape(shape), basis


def _halves(basis: torch.Tensor, side: int) -> torch.Tensor:
    """Quarters of the patches a basis spans: (3 side side, n) -> (2, 2, 3 side side / 4, n)."""
    half = side // 2
    grid = basis.reshape(3, 2, half, 2, half, -1).permute(1, 3, 0, 2, 4, 5)
    return grid.reshape(2, 2, 3 * half * half, -1)


def _start(learn: tuple[AutoencoderTinyBlock, ...], channels: int) -> None:
    """Trained blocks: nothing changed yet, inputs centred, only free channels written."""
    lifts = torch.zeros(len(learn), WIDTH)
    lifts[:, :channels] = LIFT[0]
    lifts[-2, 40:] = LIFT[1]
    lifts[-1, :PARTS], lifts[-1, 28:52] = LIFT[1], LIFT[2] / 2
    written = [(0, WIDTH)] * BLOCKS[0] + [(40, 64), (52, 64)]
    for block, lift, rows in zip(learn, lifts, written, strict=True):
        first, last = block.conv[0], block.conv[4]
        first.bias.copy_(-(first.weight.sum((2, 3)) @ lift))
        kept = channels if rows == (0, WIDTH) else WIDTH
        last.weight[:kept].zero_()
        last.bias[:kept].zero_()
        mask = torch.zeros(WIDTH)
        mask[slice(*rows)] = 1.0
        last.weight.register_hook(lambda g, m=mask: g * m.to(g.device)[:, None, None, None])
        last.bias.register_hook(lambda g, m=mask: g * m.to(g.device))
    learn[-1].conv[4].bias[52:] = SPARE
