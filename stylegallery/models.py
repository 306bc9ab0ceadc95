"""Load a latent diffusion model from a folder in diffusers layout or from the Hugging Face hub."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from schemas.engine import EngineSpec
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.fingerprint import model_location

VAE_CLASSES = ("AutoencoderKL", "AutoencoderTiny")
NULL_EMBEDDING_FILE = "null_embedding.safetensors"


@dataclass(frozen=True, eq=False)
class Models:
    """The parts of a latent diffusion model that the engine uses, frozen and on one device.

    Attributes:
        unet: Predicts noise or velocity; its weights are of `dtype`.
        vae: Encodes and decodes; float32.
        scheduler: Noise schedule and prediction type.
        null_embedding: (1, n, d) embedding of the empty prompt, of `dtype`.
    """

    unet: Any
    vae: Any
    scheduler: DDIMScheduler
    null_embedding: Tensor

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
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def native_size(self) -> int:
        """Short side in pixels that the model was trained at."""
        size = self.unet.config.sample_size
        return int(min(size) if isinstance(size, list | tuple) else size) * self.vae_factor

    def denoise(self, latent: Tensor, timestep: int) -> Tensor:
        """Return the UNet's prediction for latents (B, C, h, w) at a timestep 0 to 999."""
        batch = latent.shape[0]
        prediction: Tensor = self.unet(
            latent.to(self.dtype),
            timestep,
            encoder_hidden_states=self.null_embedding.expand(batch, -1, -1),
            return_dict=False,
        )[0]
        return prediction


def load_models(spec: EngineSpec) -> Models:
    """Load UNet, autoencoder, schedule and null embedding, and freeze them.

    Raises:
        ModelNotFound: the folder or hub id cannot be loaded; the message says what to do.
        UnsupportedModel: the model is of a kind that the engine does not know.
    """
    device = pick_device(spec.device)
    dtype = pick_dtype(spec.dtype, device)
    place = model_location(spec.model)
    options: dict[str, Any] = {"revision": spec.revision} if spec.revision else {}
    weights = {**options, "use_safetensors": True, "low_cpu_mem_usage": False}  # no accelerate
    try:
        unet = UNet2DConditionModel.from_pretrained(
            place, subfolder="unet", torch_dtype=dtype, **weights
        )
        vae = _vae_class(place, options).from_pretrained(
            place, subfolder="vae", torch_dtype=torch.float32, **weights
        )
        schedule = DDIMScheduler.load_config(place, subfolder="scheduler", **options)
        null = _null_embedding(place, options)
    except (OSError, ValueError) as error:
        raise ModelNotFound(_advice(spec, place, error)) from error
    if unet.config.addition_embed_type is not None:
        raise UnsupportedModel(
            f"{spec.model} takes extra conditions ({unet.config.addition_embed_type}), as SDXL "
            "does; use a model of the SD 1.x or 2.x kind."
        )
    layout = torch.channels_last
    return Models(
        unet=unet.to(device, memory_format=layout).eval().requires_grad_(False),
        vae=vae.to(device, memory_format=layout).eval().requires_grad_(False),
        scheduler=DDIMScheduler.from_config(schedule),
        null_embedding=null.to(device, dtype),
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


def _vae_class(place: str | Path, options: dict[str, Any]) -> Any:
    config = diffusers.AutoencoderKL.load_config(place, subfolder="vae", **options)
    name = config.get("_class_name", "AutoencoderKL")
    if name not in VAE_CLASSES:
        raise UnsupportedModel(f"autoencoder {name} is not known; use one of {VAE_CLASSES}.")
    return getattr(diffusers, name)


def _null_embedding(place: str | Path, options: dict[str, Any]) -> Tensor:
    """Read the stored embedding of the empty prompt, or compute it with the text encoder."""
    if isinstance(place, Path) and (place / NULL_EMBEDDING_FILE).is_file():
        return load_file(place / NULL_EMBEDDING_FILE)["null_embedding"]
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(place, subfolder="tokenizer", **options)
    encoder = CLIPTextModel.from_pretrained(
        place, subfolder="text_encoder", use_safetensors=True, **options
    )
    tokens = tokenizer(
        "", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
    )
    with torch.no_grad():
        hidden: Tensor = encoder(tokens.input_ids).last_hidden_state
    return hidden


def _advice(spec: EngineSpec, place: str | Path, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(place, Path):
        return (
            f"model folder {place} cannot be loaded ({reason}); it must be in diffusers layout "
            "with safetensors weights: unet/, vae/, scheduler/ and either null_embedding."
            "safetensors or text_encoder/ and tokenizer/."
        )
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    remedy = (
        "HF_HUB_OFFLINE is set: unset it, or" if offline else "check the id and the network, or"
    )
    return (
        f"model {spec.model!r} is neither a folder here nor loadable from the hub ({reason}); "
        f"{remedy} download it once with `huggingface-cli download {spec.model}`, or use "
        "--model embedded."
    )
