"""A model of SD 1.5's shape with random weights, to measure speed and memory."""

from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from stylegallery import StyleGallery
from stylegallery.models.diffusion import Models, pick_device, pick_dtype
from stylegallery.models.patches import skip_signature_check
from stylegallery.models.semantic import load_encoder
from stylegallery.models.text_encoder import Prompts, TextEncoder

_WIDTHS = (320, 640, 1280, 1280)


def random_sd15() -> StyleGallery:
    """Return an engine with SD 1.5's UNet, autoencoder and schedule on the best device."""
    device = pick_device("auto")
    dtype = pick_dtype("auto", device)
    with device:
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, block_out_channels=_WIDTHS
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            sample_size=512,
        )
    skip_signature_check(unet)
    betas: Any = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    null = torch.zeros(1, 77, 768, device=device, dtype=dtype)
    text = Prompts(TextEncoder("", {}, lambda *_: None, sdxl=False), "random", device, dtype)
    models = Models(_frozen(unet, dtype), _frozen(vae, torch.float32), scheduler, null, text)
    return StyleGallery(models, load_encoder("efficientnet-lite0", device))


def _frozen(module: Any, dtype: torch.dtype) -> Any:
    module.requires_grad_(False).eval()
    return module.to(dtype=dtype, memory_format=torch.channels_last)
