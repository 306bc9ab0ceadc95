"""Load the parts of a model from a folder in diffusers layout, or from the hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from schemas.engine import EngineSpec
from schemas.text import first_line
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.availability import folder_advice, hub_advice, object_store_advice
from stylegallery.models.empty_prompt import is_sdxl, load_empty_prompt
from stylegallery.models.prompts import PromptEmbedding
from stylegallery.models.text_encoder import TextEncoder

UNET_CLASSES = ("UNet2DConditionModel",)
VAE_CLASSES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderDC")


@dataclass(frozen=True, eq=False)
class ModelParts:
    """The parts of a model as loaded: on the CPU and trainable.

    Attributes:
        unet: In the requested dtype.
        vae: float32, because SDXL's overflows in float16.
        scheduler: DDIM with the model's noise schedule and prediction type.
        null: Embedding of the empty prompt, float32.
        text: The text encoders, not loaded yet; the model may have none.
    """

    unet: Any
    vae: Any
    scheduler: DDIMScheduler
    null: PromptEmbedding
    text: TextEncoder


def load_folder(spec: EngineSpec, place: str | Path, dtype: torch.dtype) -> ModelParts:
    """Load from a folder or hub id; weights must be safetensors.

    Args:
        spec: The engine's model and revision.
        place: The folder or hub id.
        dtype: Of the UNet.

    Raises:
        ModelNotFound: the model cannot be loaded.
        UnsupportedModel: the model is of an unknown kind.
    """
    options: dict[str, Any] = {"revision": spec.revision} if spec.revision else {}
    # low_cpu_mem_usage would need accelerate
    weights = {**options, "use_safetensors": True, "low_cpu_mem_usage": False}

    def load_text(kind: Any, subfolder: str) -> Any:
        return kind.from_pretrained(place, subfolder=subfolder, use_safetensors=True, **options)

    index = read_index(spec.model, place, options)
    try:
        refuse_class(UNET_CLASSES, UNet2DConditionModel, place, "unet", options)
        unet = UNet2DConditionModel.from_pretrained(
            place, subfolder="unet", torch_dtype=dtype, **weights
        )
        name = refuse_class(VAE_CLASSES, diffusers.AutoencoderKL, place, "vae", options)
        vae = getattr(diffusers, name).from_pretrained(
            place, subfolder="vae", torch_dtype=torch.float32, **weights
        )
        scheduler = load_scheduler(place, options)
        text = TextEncoder(place, options, load_text, is_sdxl(unet))
        null = load_empty_prompt(text, unet, index)
    except (OSError, ValueError) as error:
        raise ModelNotFound(_advice(spec, place, error)) from error
    return ModelParts(unet, vae, scheduler, null, text)


def read_index(model: str, place: str | Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return the content of model_index.json, empty if there is none.

    Raises:
        UnsupportedModel: the model has no UNet or is an SDXL refiner.
    """
    index: dict[str, Any]
    try:
        index = dict(diffusers.DiffusionPipeline.load_config(place, **options))
    except (OSError, ValueError):
        index = {}
    parts = set(index)
    if isinstance(place, Path) and place.is_dir():
        parts |= {path.name for path in place.iterdir() if path.is_dir()}
    if "transformer" in parts and "unet" not in parts:
        raise UnsupportedModel(
            f"{model} has a transformer instead of a UNet, as SD 3 and Flux do; use an SD 1.x, "
            "SD 2.x or SDXL model."
        )
    if index.get("requires_aesthetics_score"):
        raise UnsupportedModel(f"{model} is an SDXL refiner; use the SDXL base model.")
    return index


def refuse_class(
    known: tuple[str, ...], reader: Any, place: str | Path, part: str, options: dict[str, Any]
) -> str:
    """Return the class that a part's config.json names.

    Args:
        known: Classes that the engine supports; the first is the default.
        reader: Any class of diffusers, to find the file.
        place: The folder or hub id.
        part: Subfolder of the part.
        options: Options for the reader.

    Raises:
        UnsupportedModel: the class is none of `known`.
    """
    config = reader.load_config(place, subfolder=part, **options)
    name = str(config.get("_class_name", known[0]))
    if name not in known:
        raise UnsupportedModel(
            f"{part}/ of {place} is a {name}, which is not supported; use one of "
            f"{', '.join(known)}."
        )
    return name


def load_scheduler(place: str | Path, options: dict[str, Any]) -> DDIMScheduler:
    """Return DDIM with the betas and prediction type of the folder's scheduler, of any class.

    Two defaults are overridden: clipping to [-1, 1] (DDIM), which is meant for pixel models, and
    `linspace` spacing (Euler), which the inverse DDIM scheduler lacks.
    """
    config = {
        "clip_sample": False,
        **DDIMScheduler.load_config(place, subfolder="scheduler", **options),
    }
    if config.get("timestep_spacing") == "linspace":
        config["timestep_spacing"] = "leading"
    return DDIMScheduler.from_config(config)


def _advice(spec: EngineSpec, place: str | Path, error: Exception) -> str:
    if isinstance(place, Path):
        return folder_advice(place, first_line(error))
    if "://" in spec.model:
        return object_store_advice("model", spec.model)
    return hub_advice("model", spec.model, first_line(error))
