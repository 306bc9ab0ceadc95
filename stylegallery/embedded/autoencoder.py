"""The autoencoder: an AutoencoderTiny whose encoder is the linear patch code, exactly.

Without residual blocks the encoder is a chain of convolutions with no activation between. Three
strided ones gather 2x2 neighbours (3 -> 12 -> 48 -> code) and the last adds the bias.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderTiny
from torch import nn

from stylegallery.embedded.pca import PATCH, SCALING, PatchCode

ENCODER_WIDTH = 64


def build_vae(code: PatchCode, width: int, blocks: tuple[int, ...]) -> AutoencoderTiny:
    """An AutoencoderTiny with the encoder set to ``code`` and a random decoder.

    Args:
        code: at most 64 channels.
        width: channels of the decoder.
        blocks: residual blocks of the decoder at 1/8, 1/4, 1/2 and full size.
    """
    vae = AutoencoderTiny(
        latent_channels=code.channels,
        encoder_block_out_channels=(ENCODER_WIDTH,) * 4,
        decoder_block_out_channels=(width,) * 4,
        num_encoder_blocks=(0, 0, 0, 0),
        num_decoder_blocks=blocks,
        scaling_factor=SCALING,
    )
    write_code(vae, code)
    return vae


@torch.no_grad()
def write_code(vae: AutoencoderTiny, code: PatchCode) -> None:
    """Set the encoder of ``vae`` to ``code`` / SCALING."""
    convolutions = [m for m in vae.encoder.modules() if isinstance(m, nn.Conv2d)]
    for convolution in convolutions:
        convolution.weight.zero_()
        if convolution.bias is not None:
            convolution.bias.zero_()
    first, *middle, last = convolutions
    first.weight[range(3), range(3), 1, 1] = 1.0
    for stage in middle[:-1]:
        _gather(stage, 3 if stage is middle[0] else 12)
    middle[-1].weight[: code.channels, :48, 1:, 1:] = _by_position(code.weight)
    last.weight[range(code.channels), range(code.channels), 1, 1] = 1 / SCALING
    assert last.bias is not None
    last.bias.copy_(code.bias / SCALING)


def _gather(stage: nn.Conv2d, channels: int) -> None:
    """Space to depth: output ``(2 * row + column) * channels + c`` is input c at that position."""
    for row in range(2):
        for column in range(2):
            out = (2 * row + column) * channels
            for c in range(channels):
                stage.weight[out + c, c, 1 + row, 1 + column] = 1.0


def _by_position(weight: torch.Tensor) -> torch.Tensor:
    """(k, 192) in (colour, row, column) order -> (k, 48, 2, 2) in the order of the gathers.

    A pixel's row is ``4 * a + 2 * b + c``: c is gathered first, b second, a is the kernel's.
    """
    k = len(weight)
    grid = weight.reshape(k, 3, 2, 2, 2, 2, 2, 2)  # k, colour, a, b, c (rows), a, b, c (columns)
    order = grid.permute(0, 3, 6, 4, 7, 1, 2, 5)  # k, b rows, b cols, c rows, c cols, colour, a, a
    return order.reshape(k, 48, PATCH // 4, PATCH // 4)


def decode(vae: AutoencoderTiny, latents: torch.Tensor) -> torch.Tensor:
    """Picture of UNet-scale latents.

    Args:
        latents: (B, C, h, w), unit variance.

    Returns:
        (B, 3, 8h, 8w) float32, about [0, 1], not clamped.
    """
    pixels: torch.Tensor = vae.decode(latents / SCALING).sample.float() / 2 + 0.5
    return pixels


def encode(vae: AutoencoderTiny, pixels: torch.Tensor) -> torch.Tensor:
    """UNet-scale latents of pictures in [0, 1]."""
    latents: torch.Tensor = vae.encode(pixels * 2 - 1).latents * SCALING
    return latents
