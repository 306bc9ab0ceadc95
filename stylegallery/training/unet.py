"""The UNet: Stable Diffusion's topology at a fraction of its width, its schedule and its loss."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention

NULL_TOKENS, CROSS_DIM = 1, 32


def build_unet(channels: int, widths: tuple[int, ...], side: int) -> UNet2DConditionModel:
    """Return an untrained UNet with SD 1.5's block types, two layers per block and two heads.

    Args:
        channels: Latent channels.
        widths: Channels at the four resolutions, multiples of 32.
        side: Side of latents in training.
    """
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=CROSS_DIM,
        attention_head_dim=2,  # diffusers means the number of heads
        norm_num_groups=min(32, min(widths) // 2),
    )


def build_scheduler() -> DDIMScheduler:
    """Return the noise schedule of SD 1.5: scaled linear, 1000 steps, epsilon prediction."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


def null_embedding(batch: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return the text condition of every call: zeros (batch, 1, 32), float32."""
    return torch.zeros(batch, NULL_TOKENS, CROSS_DIM, device=device)


class NullCrossAttention:
    """Cross-attention to :func:`null_embedding`, reduced to the output bias.

    Its values are zero, so the result is exact; it saves a tenth of a training step.
    """

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, *_: object, **__: object
    ) -> torch.Tensor:
        """Map (B, N, C) to (B, N, C)."""
        bias: torch.Tensor = attn.to_out[0].bias
        return bias.to(hidden_states.dtype).expand_as(hidden_states)


def skip_cross_attention(unet: UNet2DConditionModel) -> None:
    """Use :class:`NullCrossAttention` in every cross-attention layer of `unet`."""
    for module in unet.modules():
        if isinstance(module, Attention) and module.is_cross_attention:
            module.set_processor(NullCrossAttention())


def denoising_errors(
    denoise: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, Any]],
    alphas: torch.Tensor,
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
) -> tuple[torch.Tensor, Any]:
    """Return the mean squared error of the predicted noise, per sample.

    Args:
        denoise: Maps noisy latents, timesteps and null embedding to noise and a second value.
        alphas: (1000,) cumulative products of the schedule.
        latents: (B, C, h, w) clean latents of about unit variance.
        noise: (B, C, h, w) standard normal noise.
        timesteps: (B,) int64 in [0, 1000).

    Returns:
        (B,) float32 errors, and the second value of `denoise`.
    """
    a = alphas[timesteps][:, None, None, None]
    noisy = (a.sqrt() * latents + (1 - a).sqrt() * noise).contiguous(
        memory_format=torch.channels_last
    )
    null = null_embedding(len(latents), latents.device)
    with torch.autocast(latents.device.type, torch.bfloat16):
        out, more = denoise(noisy, timesteps, null)
    error: torch.Tensor = (out.float() - noise).square().mean((1, 2, 3))
    return error, more
