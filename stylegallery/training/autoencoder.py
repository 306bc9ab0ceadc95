"""The autoencoder: a small AutoencoderDC, initialized as the principal components of 8x8 patches.

Skip connections pass the pixels of a patch through all stages unchanged, residual blocks start at
zero, and the two convolutions at the latent hold the principal components. So training starts from
the best linear code instead of random weights.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderDC
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 8
COLORS = 3
STAGES = 3  # each halves the side: 2**3 is the patch side
ANCHOR = 32.0  # value of a constant channel that keeps the last RMSNorm nearly linear


@dataclass(frozen=True)
class PatchCode:
    """A linear code of patches: ``z = weight @ patch + bias``.

    Attributes:
        weight: (channels, 192) float32; patch order (color, row, column).
        bias: (channels,) float32.
        inverse: (192, channels) float32, least-squares decoder.
        mean: (192,) float32 mean patch, in [0, 1].
    """

    weight: torch.Tensor
    bias: torch.Tensor
    inverse: torch.Tensor
    mean: torch.Tensor

    @property
    def channels(self) -> int:
        """Number of latent channels."""
        return int(self.weight.shape[0])

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return latents at the UNet's scale.

        Args:
            pixels: (B, 3, H, W) float in [0, 1]; sides are multiples of 8.

        Returns:
            (B, channels, H/8, W/8) float32, about unit variance.
        """
        z = torch.einsum("kp,bpn->bkn", self.weight, F.unfold(pixels, PATCH, stride=PATCH))
        shape = (-1, self.channels, pixels.shape[2] // PATCH, pixels.shape[3] // PATCH)
        return (z + self.bias[:, None]).reshape(shape)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the linear reconstruction, the baseline of the trained decoder.

        Returns:
            (B, 3, 8h, 8w) float32, about [0, 1].
        """
        patches = torch.einsum("pk,bkn->bpn", self.inverse, latents.flatten(2))
        size = (latents.shape[2] * PATCH, latents.shape[3] * PATCH)
        return F.fold(patches + self.mean[:, None], size, PATCH, stride=PATCH)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors by name, for saving."""
        return {name: getattr(self, name) for name in ("weight", "bias", "inverse", "mean")}


def fit(pixels: torch.Tensor, channels: int) -> PatchCode:
    """Fit the code to pictures.

    Components are divided by the square root of their standard deviation, which is half-way to
    whitening. With full whitening, noise in a patch's mean color would weigh no more than in its
    faintest detail and show as a grid of patches. Without whitening, the noise of diffusion would
    hide details.

    Args:
        pixels: (B, 3, H, W) uint8.
        channels: Number of latent channels, 1 to 192.
    """
    patches = F.unfold(pixels.float() / 255, PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 192)
    found = PCA(channels, svd_solver="covariance_eigh").fit(patches.double().numpy())
    mean, basis = torch.from_numpy(found.mean_).float(), torch.from_numpy(found.components_.T)
    scale = torch.from_numpy(found.explained_variance_).clamp_min(1e-8).sqrt()
    weight = (basis / (scale * scale.mean()).sqrt()).T
    bias = -weight @ mean.double()
    return PatchCode(weight.float(), bias.float(), torch.linalg.pinv(weight).float(), mean)


def build_vae(
    channels: int, widths: tuple[int, int, int], blocks: tuple[int, int, int]
) -> AutoencoderDC:
    """Return an untrained AutoencoderDC whose latents have 1/8 of the picture's size.

    Args:
        channels: Latent channels; the last width is a multiple of this number.
        widths: Channels at 1/2, 1/4 and 1/8 of the size, each at least twice the one before.
        blocks: Residual blocks of the decoder at these sizes; the encoder has at most two.
    """
    stages, none = (widths[0], *widths), ((),) * (STAGES + 1)
    return AutoencoderDC(
        latent_channels=channels,
        encoder_block_out_channels=stages,
        decoder_block_out_channels=stages,
        encoder_layers_per_block=(0, 1, 1, min(2, blocks[-1])),
        decoder_layers_per_block=(0, *blocks),
        encoder_qkv_multiscales=none,
        decoder_qkv_multiscales=none,
    )


@torch.no_grad()
def write_components(vae: AutoencoderDC, code: PatchCode) -> None:
    """Initialize an untrained `vae` so that it computes `code`, except for its last norm."""
    modules: Any = vae.modules()
    for module in modules:
        if hasattr(module, "conv2"):  # a residual block: zero until trained
            module.norm.weight.zero_()
    _write_encoder(vae, code)
    _write_decoder(vae, code)


@torch.no_grad()
def encode(vae: AutoencoderDC, pixels: Tensor) -> Tensor:
    """Encode pixels (B, 3, H, W) in [0, 1] to latents (B, C, H/8, W/8) at the UNet's scale."""
    latents: Tensor = vae.encoder(pixels * 2 - 1) * vae.config.scaling_factor
    return latents


def decode(vae: AutoencoderDC, latents: Tensor) -> Tensor:
    """Decode latents (B, C, h, w) to pixels (B, 3, 8h, 8w), about [0, 1] and not clamped."""
    pixels: Tensor = vae.decoder(latents / vae.config.scaling_factor)
    return pixels.float() / 2 + 0.5


def _write_encoder(vae: AutoencoderDC, code: PatchCode) -> None:
    """Pass pixels through the stages, then solve for the last convolution.

    The shortcuts of the stages mix the pixels of a patch, but without loss. So the linear map from
    a patch to the input of `conv_out` is measured with unit patches and inverted.
    """
    encoder: Any = vae.encoder
    stages = [encoder.conv_in, *(block[-1] for block in list(encoder.down_blocks)[1:STAGES])]
    for depth, stage in enumerate(stages):
        pixels = COLORS * 4**depth
        stage.conv.weight.mul_(0.02)  # the other channels: small, but not equal
        stage.conv.weight[:pixels] = 0
        stage.conv.weight[range(pixels), range(pixels), 1, 1] = 1.0
        stage.conv.bias.zero_()
    features = _patch_features(encoder)
    share = encoder.out_shortcut_average_group_size
    shortcut = torch.eye(code.channels).repeat_interleave(share, 1) / share
    signed = code.weight / 2  # the code takes pixels in [0, 1], the network in [-1, 1]
    center = signed @ torch.linalg.pinv(features.double()).float().T
    encoder.conv_out.weight.zero_()
    encoder.conv_out.weight[:, :, 1, 1] = center - shortcut
    encoder.conv_out.bias.copy_(code.bias + signed.sum(1))


def _patch_features(encoder: Any) -> Tensor:
    """Return (192, width): input of `conv_out` at the center of 3x3 patches, per pixel of it."""
    side = COLORS * PATCH * PATCH
    canvas = torch.zeros(side, COLORS, 3 * PATCH, 3 * PATCH)
    patch = torch.eye(side).reshape(side, COLORS, PATCH, PATCH)
    canvas[:, :, PATCH : 2 * PATCH, PATCH : 2 * PATCH] = patch
    hidden = encoder.conv_in(canvas)
    for block in encoder.down_blocks:
        hidden = block(hidden)
    middle: Tensor = hidden[:, :, 1, 1]
    return middle


def _write_decoder(vae: AutoencoderDC, code: PatchCode) -> None:
    """Write the inverse of the code to `conv_in`, and pass its 192 values through the stages."""
    decoder: Any = vae.decoder
    _center_only(decoder.conv_in, decoder.in_shortcut_repeats)
    order = torch.arange(COLORS * PATCH * PATCH).reshape(1, COLORS, PATCH, PATCH)
    for _ in range(STAGES):
        order = nn.functional.pixel_unshuffle(order, 2)
    order = order.flatten()
    decoder.conv_in.weight[: len(order), :, 1, 1] += 2 * code.inverse[order]
    decoder.conv_in.bias[: len(order)] += 2 * code.mean[order] - 1
    for depth in (2, 1):
        stage = decoder.up_blocks[depth][0]
        _center_only(stage.conv, stage.repeats)
        copied = COLORS * 4**depth * 4  # values of a patch at this stage's input
        stage.conv.weight[range(copied), range(copied), 1, 1] += 1.0
        if depth == 1:  # both signs, for the ReLU before the last convolution
            stage.conv.weight[range(copied, 2 * copied), range(copied), 1, 1] -= 1.0
            stage.conv.bias[2 * copied : 2 * copied + 4] = ANCHOR
    _write_output(decoder)


def _write_output(decoder: Any) -> None:
    pixels = COLORS * 4
    last, width = decoder.conv_out.conv, decoder.norm_out.weight.shape[0]
    decoder.norm_out.weight.fill_(ANCHOR / width**0.5)
    decoder.norm_out.weight[2 * pixels] = 0
    last.weight.mul_(0.1)
    last.weight[:, : 2 * pixels + 1] = 0
    last.bias.zero_()
    for sign, start in ((1.0, 0), (-1.0, pixels)):
        last.weight[range(pixels), range(start, start + pixels), 1, 1] = sign
    for block in decoder.up_blocks[1][1:]:
        block.conv1.weight[:, 2 * pixels] = 0


def _center_only(convolution: nn.Conv2d, repeats: int) -> None:
    """Zero a convolution except for a center tap that cancels the parallel shortcut."""
    convolution.weight.zero_()
    assert convolution.bias is not None
    convolution.bias.zero_()
    outputs = torch.arange(convolution.out_channels)
    convolution.weight[outputs, outputs // repeats, 1, 1] = -1.0
