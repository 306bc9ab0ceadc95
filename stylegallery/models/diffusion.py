"""A latent diffusion model, loaded from a folder, the hub or a single file."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import AutoencoderDC, DDIMScheduler, LCMScheduler
from torch import Tensor

from schemas.engine import EngineSpec
from schemas.methods import LCM_STEPS, Schedule
from schemas.prompts import PromptParams
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.diffusers_folder import ModelParts, load_folder
from stylegallery.models.empty_prompt import SDXL_EMBEDDING
from stylegallery.models.fingerprint import model_location
from stylegallery.models.lora import fuse_lora
from stylegallery.models.patches import fix_onednn_bf16, skip_signature_check
from stylegallery.models.prompts import Condition, PromptEmbedding
from stylegallery.models.single_file import is_checkpoint, load_checkpoint
from stylegallery.models.text_encoder import Prompts

_VAE_TILE: Final = 1024  # px; pictures up to this size are encoded and decoded in one piece


@dataclass(frozen=True, eq=False)
class Models:
    """The parts of a latent diffusion model, frozen and on one device.

    Attributes:
        unet: Predicts noise or velocity; has dtype `dtype`.
        vae: Encodes and decodes; float32.
        scheduler: Noise schedule and prediction type.
        null_embedding: (1, n, d) embedding of the empty prompt, of `dtype`.
        prompts: Embeddings of other prompts.
        null_pooled: (1, p) pooled embedding of the empty prompt, of `dtype`; SDXL only.
    """

    unet: Any
    vae: Any
    scheduler: DDIMScheduler
    null_embedding: Tensor
    prompts: Prompts
    null_pooled: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Device of all weights."""
        return self.null_embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the UNet."""
        return self.null_embedding.dtype

    @property
    def vae_factor(self) -> int:
        """Pixels per latent cell and side."""
        config = self.vae.config  # AutoencoderDC names encoder and decoder channels apart
        stages = config.get("encoder_block_out_channels") or config.block_out_channels
        return int(2 ** (len(stages) - 1))

    @property
    def native_size(self) -> int:
        """Short side in pixels of the model's training images."""
        size = self.unet.config.sample_size
        return int(min(size) if isinstance(size, list | tuple) else size) * self.vae_factor

    def schedule(self, steps: int) -> DDIMScheduler:
        """Return a new DDIM schedule of `steps` timesteps, from noisy to clean."""
        schedule = DDIMScheduler.from_config(self.scheduler.config)
        schedule.set_timesteps(steps)
        return schedule

    def timesteps(self, steps: int, schedule: Schedule = "ddim") -> list[int]:
        """Return `steps` training timesteps of a schedule, from noisy to clean."""
        if schedule == "ddim":
            found = self.schedule(steps).timesteps
        elif schedule == "lcm":
            consistent = LCMScheduler.from_config(self.scheduler.config)
            consistent.set_timesteps(steps, original_inference_steps=LCM_STEPS)
            found = consistent.timesteps
        else:  # Hyper-SD's few-step LoRAs start at the last timestep (arXiv 2404.13686)
            trailing = {"timestep_spacing": "trailing"}
            spaced = DDIMScheduler.from_config(self.scheduler.config, **trailing)
            spaced.set_timesteps(steps)
            found = spaced.timesteps
        timesteps: list[int] = found.tolist()
        return timesteps

    def embedding(self, prompt: str) -> PromptEmbedding:
        """Return the embedding of a prompt, one row; the empty one needs no text encoder.

        Raises:
            UnsupportedModel: the model has no text encoder.
        """
        if not prompt:
            return PromptEmbedding(self.null_embedding, self.null_pooled)
        return self.prompts.embedding(prompt)

    def condition(self, prompts: PromptParams, *, adapted: bool = False) -> Condition:
        """Return the condition of a prediction.

        Args:
            prompts: Text and guidance.
            adapted: Whether a learnt style predicts, which follows its own words too.

        Raises:
            UnsupportedModel: the model has no text encoder.
        """
        text = prompts.adapted_prompt if adapted else prompts.prompt
        if prompts.guidance == 1:
            return Condition(self.embedding(text))
        negative = self.embedding(prompts.negative_prompt)
        return Condition(self.embedding(text), negative, prompts.guidance)

    def denoise(
        self, latent: Tensor, timestep: int | Tensor, condition: Condition | None = None
    ) -> Tensor:
        """Return the UNet's prediction (B, C, h, w) for latents at a timestep from 0 to 999.

        With guidance the UNet is called once with 2B rows, of which the first B follow the prompt.
        `scheduler.config.prediction_type` says whether the prediction is noise or velocity.

        Args:
            latent: (B, C, h, w).
            timestep: One for all latents, or (B,) int64 with one for each.
            condition: The empty prompt when None.
        """
        told = condition or Condition(self.embedding(""))
        text = told.rows(len(latent))
        if told.negative is not None:
            latent = torch.cat([latent, latent])
            timestep = timestep.repeat(2) if isinstance(timestep, Tensor) else timestep
        prediction: Tensor = self.unet(
            latent.to(self.dtype),
            timestep,
            encoder_hidden_states=text.embedding,
            added_cond_kwargs=self._sizes_and_pooled(latent, text.pooled),
            return_dict=False,
        )[0]
        return told.guided(prediction)

    def _sizes_and_pooled(self, latent: Tensor, pooled: Tensor | None) -> dict[str, Tensor] | None:
        """Return SDXL's extra conditions for an uncropped image of the working size."""
        if pooled is None:
            return None
        height, width = (side * self.vae_factor for side in latent.shape[-2:])
        sizes = torch.tensor([[height, width, 0, 0, height, width]], device=self.device)
        return {"text_embeds": pooled, "time_ids": sizes.float().expand(len(latent), -1)}


def load_models(spec: EngineSpec) -> Models:
    """Load and freeze UNet, autoencoder, schedule and the empty prompt's embedding.

    Raises:
        ModelNotFound: a folder, file or hub id cannot be loaded.
        UnsupportedModel: the model or a LoRA is of an unknown kind.
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
    _decode_in_tiles(parts.vae)
    layout = torch.channels_last
    null = parts.null.to(device, dtype)
    return Models(
        unet=parts.unet.to(device, memory_format=layout).eval().requires_grad_(False),
        vae=parts.vae.to(device, memory_format=layout).eval().requires_grad_(False),
        scheduler=parts.scheduler,
        null_embedding=null.embedding,
        prompts=Prompts(parts.text, spec.model, device, dtype),
        null_pooled=null.pooled,
    )


def _decode_in_tiles(vae: Any) -> None:
    """Let an autoencoder work in overlapping tiles on pictures above a size, to bound memory."""
    if isinstance(vae, AutoencoderDC):
        vae.enable_tiling(_VAE_TILE, _VAE_TILE, _VAE_TILE * 7 // 8, _VAE_TILE * 7 // 8)
    elif hasattr(vae, "tile_latent_min_size"):  # AutoencoderKL and AutoencoderTiny
        factor = vae.tile_sample_min_size / vae.tile_latent_min_size
        vae.enable_tiling()
        vae.tile_sample_min_size = _VAE_TILE
        vae.tile_latent_min_size = int(_VAE_TILE / factor)


def pick_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is CUDA if available, else the CPU.

    Raises:
        ModelNotFound: the named device is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name, True):
        raise ModelNotFound(f"device {name} is not available here; use --device auto or cpu.")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a name.

    `auto` is float16 on a GPU, bfloat16 on a CPU with native bfloat16 products (several times
    faster), else float32.
    """
    if name == "auto":
        if device.type != "cpu":
            return torch.float16
        # torch 2.11 lacks get_capabilities
        able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        native = able.get("amx_bf16") or able.get("avx512_bf16")
        return torch.bfloat16 if native else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _refuse_other_kinds(name: str, parts: ModelParts) -> None:
    extra = parts.unet.config.addition_embed_type
    if extra not in (None, SDXL_EMBEDDING):
        raise UnsupportedModel(
            f"{name} needs extra conditions ({extra}) that are not supported; use an SD 1.x, "
            "SD 2.x or SDXL model."
        )
    taken, given = parts.unet.config.in_channels, parts.vae.config.latent_channels
    if taken != given:
        raise UnsupportedModel(
            f"the UNet of {name} takes {taken} channels, but its autoencoder gives {given}, as in "
            "inpainting models; use the base model."
        )
