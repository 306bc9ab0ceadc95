"""A latent diffusion model, whatever it was loaded from: folder, hub or single file."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler, LCMScheduler
from torch import Tensor

from schemas.engine import EngineSpec
from schemas.methods import LCM_STEPS, Schedule
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.diffusers_folder import Parts, load_folder
from stylegallery.models.empty_prompt import SDXL_EMBEDDING
from stylegallery.models.fingerprint import model_location
from stylegallery.models.lora import fuse_lora
from stylegallery.models.patches import fix_onednn_bf16, skip_signature_check
from stylegallery.models.single_file import is_checkpoint, load_checkpoint


@dataclass(frozen=True, eq=False)
class Models:
    """The parts of a latent diffusion model that the engine uses, frozen and on one device.

    Attributes:
        unet: Predicts noise or velocity; its weights are of `dtype`.
        vae: Encodes and decodes; float32.
        scheduler: Noise schedule and prediction type.
        null_embedding: (1, n, d) embedding of the empty prompt, of `dtype`.
        null_pooled: (1, p) its pooled embedding, of `dtype`; None unless the UNet is SDXL's.
    """

    unet: Any
    vae: Any
    scheduler: DDIMScheduler
    null_embedding: Tensor
    null_pooled: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Device of all weights."""
        return self.null_embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the UNet."""
        return self.null_embedding.dtype

    @property
    def vae_factor(self) -> int:
        """Pixels a side of one latent cell."""
        config = self.vae.config  # AutoencoderDC may have another decoder, so it names both
        stages = config.get("encoder_block_out_channels") or config.block_out_channels
        return int(2 ** (len(stages) - 1))

    @property
    def native_size(self) -> int:
        """Short side in pixels that the model was trained at."""
        size = self.unet.config.sample_size
        return int(min(size) if isinstance(size, list | tuple) else size) * self.vae_factor

    def schedule(self, steps: int) -> DDIMScheduler:
        """Return a DDIM schedule of its own with so many timesteps, from noisy to clean."""
        schedule = DDIMScheduler.from_config(self.scheduler.config)
        schedule.set_timesteps(steps)
        return schedule

    def timesteps(self, steps: int, schedule: Schedule = "ddim") -> list[int]:
        """Return so many training timesteps, from noisy to clean, of a schedule by name."""
        if schedule == "ddim":
            found = self.schedule(steps).timesteps
        elif schedule == "lcm":
            consistent = LCMScheduler.from_config(self.scheduler.config)
            consistent.set_timesteps(steps, original_inference_steps=LCM_STEPS)
            found = consistent.timesteps
        else:  # Hyper-SD's few-step LoRAs end at the last timestep (arXiv 2404.13686)
            trailing = {"timestep_spacing": "trailing"}
            spaced = DDIMScheduler.from_config(self.scheduler.config, **trailing)
            spaced.set_timesteps(steps)
            found = spaced.timesteps
        timesteps: list[int] = found.tolist()
        return timesteps

    def denoise(self, latent: Tensor, timestep: int) -> Tensor:
        """Return the UNet's prediction for latents (B, C, h, w) at a timestep 0 to 999.

        What it predicts, noise or velocity, `scheduler.config.prediction_type` says.
        """
        batch = latent.shape[0]
        prediction: Tensor = self.unet(
            latent.to(self.dtype),
            timestep,
            encoder_hidden_states=self.null_embedding.expand(batch, -1, -1),
            added_cond_kwargs=self._sizes_and_pooled(latent),
            return_dict=False,
        )[0]
        return prediction

    def _sizes_and_pooled(self, latent: Tensor) -> dict[str, Tensor] | None:
        """Return SDXL's further conditions: an uncropped image of the working size."""
        if self.null_pooled is None:
            return None
        batch = latent.shape[0]
        height, width = (side * self.vae_factor for side in latent.shape[-2:])
        sizes = torch.tensor([[height, width, 0, 0, height, width]], device=self.device)
        return {
            "text_embeds": self.null_pooled.expand(batch, -1),
            "time_ids": sizes.float().expand(batch, -1),
        }


def load_models(spec: EngineSpec) -> Models:
    """Load UNet, autoencoder, schedule and the empty prompt's condition, and freeze them.

    Raises:
        ModelNotFound: a folder, file or hub id cannot be loaded; the message says what to do.
        UnsupportedModel: the model or a LoRA is of a kind that the engine does not know.
    """
    device = pick_device(spec.device)
    dtype = pick_dtype(spec.dtype, device)
    if is_checkpoint(spec.model):
        parts = load_checkpoint(spec, dtype)
    else:
        parts = load_folder(spec, model_location(spec.model), dtype)
    _refuse_other_kinds(spec.model, parts)
    for lora in spec.loras:
        fuse_lora(parts.unet, lora)
    if device.type == "cpu" and dtype is torch.bfloat16:
        fix_onednn_bf16(parts.unet)
    skip_signature_check(parts.unet)
    layout = torch.channels_last
    pooled = parts.null.pooled
    return Models(
        unet=parts.unet.to(device, memory_format=layout).eval().requires_grad_(False),
        vae=parts.vae.to(device, memory_format=layout).eval().requires_grad_(False),
        scheduler=parts.scheduler,
        null_embedding=parts.null.embedding.to(device, dtype),
        null_pooled=None if pooled is None else pooled.to(device, dtype),
    )


def pick_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `mps` stands for.

    Raises:
        ModelNotFound: a device is asked for by name that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(name, True):
        raise ModelNotFound(f"device {name} is not available here; use --device auto or cpu.")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the number type that `auto`, `float32`, `bfloat16` or `float16` stands for.

    On a CPU, bfloat16 is taken where the processor multiplies in it (several times faster).
    """
    if name == "auto":
        if device.type != "cpu":
            return torch.float16
        # torch 2.11 has no such function
        able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        native = able.get("amx_bf16") or able.get("avx512_bf16")
        return torch.bfloat16 if native else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _refuse_other_kinds(name: str, parts: Parts) -> None:
    extra = parts.unet.config.addition_embed_type
    if extra not in (None, SDXL_EMBEDDING):
        raise UnsupportedModel(
            f"{name} takes extra conditions ({extra}) that are not known; use a model of the "
            "SD 1.x, SD 2.x or SDXL kind."
        )
    taken, given = parts.unet.config.in_channels, parts.vae.config.latent_channels
    if taken != given:
        raise UnsupportedModel(
            f"the UNet of {name} takes {taken} channels where its autoencoder gives {given}, as "
            "models for inpainting do; use the plain model."
        )
