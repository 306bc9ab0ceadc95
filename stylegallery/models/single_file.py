"""Load the parts of a model from a single-file checkpoint in the original LDM layout."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from schemas.engine import EngineSpec
from schemas.text import first_line
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.diffusers_folder import ModelParts, load_scheduler, read_index
from stylegallery.models.empty_prompt import is_sdxl, load_empty_prompt
from stylegallery.models.text_encoder import TextEncoder

SUFFIX = ".safetensors"
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
_UNET_PREFIX = "model.diffusion_model."
_VAE_PREFIX = "first_stage_model."
_FIRST_LAYER = f"{_UNET_PREFIX}input_blocks.0.0.weight"


def is_checkpoint(model: str) -> bool:
    """Return whether a model is a single file, not a folder or hub id.

    Raises:
        UnsupportedModel: the file is a pickle, which can run code when opened.
    """
    if model.lower().endswith(PICKLES) and not Path(model).is_dir():
        raise UnsupportedModel(
            f"{model} is a pickle, which can run code when it is opened; use the model's "
            f"{SUFFIX} file or convert it to a folder in diffusers layout."
        )
    return model.endswith(SUFFIX)


def load_checkpoint(spec: EngineSpec, dtype: torch.dtype) -> ModelParts:
    """Load the file `spec.model`.

    The file contains weights only. Layout, noise schedule and tokenizer come from
    `spec.config_folder`, or from the hub repository that diffusers uses for such files, which
    needs the network or a filled cache.

    Raises:
        ModelNotFound: the file or its configuration is not available.
        UnsupportedModel: the file is no SD checkpoint, or does not match the configuration.
    """
    path = Path(spec.model).expanduser()
    state = _read(path)
    place = _config_place(spec, state)

    def load_text(kind: Any, subfolder: str) -> Any:
        return _text_encoder(kind, _read(path), subfolder, place)

    index = read_index(spec.model, place, {})
    try:
        unet = _part(UNet2DConditionModel, state, _UNET_PREFIX, place, "unet", dtype)
        vae = _part(AutoencoderKL, state, _VAE_PREFIX, place, "vae", torch.float32)
        scheduler = load_scheduler(place, {})
        text = TextEncoder(place, {}, load_text, is_sdxl(unet))
        loaded = replace(text, load=lambda kind, part: _text_encoder(kind, state, part, place))
        null = load_empty_prompt(loaded, unet, index)
    except (OSError, ValueError) as error:
        raise ModelNotFound(_advice(spec, place, error)) from error
    except (RuntimeError, KeyError, AttributeError) as error:
        # diffusers' converter does not validate: a wrong layout can raise any of these
        raise UnsupportedModel(
            f"{spec.model} does not have the layout that {place} describes ({first_line(error)}); "
            "set config_folder to a diffusers folder of the same kind (SD 1.x, SD 2.x or SDXL)."
        ) from error
    return ModelParts(unet, vae, scheduler, null, text)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelNotFound(
            f"checkpoint {path} cannot be read ({first_line(error)}); check the path, or download "
            "the file again."
        ) from error
    if _FIRST_LAYER not in state:
        raise UnsupportedModel(
            f"{path} is no SD 1.x, SD 2.x or SDXL checkpoint (it has no {_FIRST_LAYER}); list a "
            "LoRA under `loras`, and put weights in diffusers layout into their folder."
        )
    return state


def _config_place(spec: EngineSpec, state: dict[str, Tensor]) -> str | Path:
    if spec.config_folder:
        return Path(spec.config_folder).expanduser()
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    return str(fetch_diffusers_config(state)["pretrained_model_name_or_path"])


def _part(
    kind: Any,
    state: dict[str, Tensor],
    prefix: str,
    place: str | Path,
    subfolder: str,
    dtype: torch.dtype,
) -> Any:
    """Convert one part, and check that the file has all of its weights."""
    part = kind.from_single_file(
        dict(state),
        config=str(place),
        subfolder=subfolder,
        torch_dtype=dtype,
        low_cpu_mem_usage=False,
    )
    found = sum(name.startswith(prefix) for name in state)
    needed = len(part.state_dict())
    if found < needed:
        raise KeyError(f"{found} tensors under {prefix}*, but {needed} are needed")
    return part


def _text_encoder(kind: Any, state: dict[str, Tensor], subfolder: str, place: str | Path) -> Any:
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm

    return create_diffusers_clip_model_from_ldm(
        kind, dict(state), subfolder=subfolder, config=str(place)
    )


def _advice(spec: EngineSpec, place: str | Path, error: Exception) -> str:
    if spec.config_folder:
        return (
            f"config_folder {place} cannot be used for {spec.model} ({first_line(error)}); it must "
            "be a diffusers folder of the same kind, with at least its json and txt files: unet/, "
            "vae/, scheduler/ and either null_embedding.safetensors or text_encoder/ and "
            "tokenizer/."
        )
    return (
        f"{spec.model} contains only weights, and its layout cannot be fetched from {place} "
        f"({first_line(error)}); set config_folder to a diffusers folder of the same kind, "
        f"downloaded with `hf download {place} --include '*.json' '*.txt' --local-dir FOLDER`, "
        "or convert the file with diffusers' from_single_file and save_pretrained."
    )
