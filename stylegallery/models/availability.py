"""Check before a run, without torch, that the models it names are available."""

import os
import re
from pathlib import Path
from typing import Final

from schemas.engine import EngineSpec
from schemas.prompts import PromptParams
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.fingerprint import model_location

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
"""OWNER/NAME of the Hugging Face hub, or a legacy name without an owner."""
_URI: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_LAYOUT: Final = (
    "it must be in diffusers layout with safetensors weights: unet/, vae/, scheduler/ and either "
    "null_embedding.safetensors or text_encoder/ and tokenizer/ (SDXL: text_encoder_2/ and "
    "tokenizer_2/ too)"
)
_WITHOUT_HUB: Final = {
    "model": ", or use --model embedded",
    "encoder": ", or use --encoder efficientnet-lite0",
}
_TEXT: Final = ("text_encoder", "tokenizer")
_CONFIGS: Final = ("unet/config.json", "vae/config.json", "scheduler/scheduler_config.json")


def check_available(spec: EngineSpec) -> None:
    """Refuse an engine whose model, LoRA, encoder, depth model or SAM is not available.

    Neither weights nor the network are read: a hub id passes unless the hub is disabled
    (HF_HUB_OFFLINE) and the local cache lacks it.

    Raises:
        ModelNotFound: one of them is not available.
    """
    if spec.model != "embedded":
        _check("model", spec.model, _CONFIGS[0], spec.revision)
        if Path(spec.model).expanduser().is_dir():
            _check_layout(Path(spec.model).expanduser())
    for lora in spec.loras:
        _check("LoRA", lora.weights)
    for kind, name in (("depth model", spec.depth), ("SAM", spec.sam)):
        if name:
            _check(kind, name, "config.json")
    if spec.encoder != "efficientnet-lite0":
        _check("encoder", spec.encoder, "config.json")


def check_text(spec: EngineSpec, prompts: PromptParams) -> None:
    """Refuse text for a model whose folder has no text encoder.

    Files and hub ids pass; the engine refuses those without one when it is loaded.

    Raises:
        UnsupportedModel: there is text, and the model takes none.
    """
    place = model_location(spec.model)
    if not prompts.texts or not isinstance(place, Path) or not place.is_dir():
        return
    if missing := [part for part in _TEXT if not (place / part).is_dir()]:
        raise UnsupportedModel(no_text_advice(spec.model, f"it lacks {' and '.join(missing)}"))


def no_text_advice(model: str, reason: str) -> str:
    """Return an error message on text for a model that takes none."""
    return (
        f"model {model} takes no text ({reason}); leave out prompt, style_prompt, negative_prompt "
        "and guidance, or use an SD 1.x, SD 2.x or SDXL model with its text encoders."
    )


def folder_advice(place: Path, reason: str) -> str:
    """Return an error message on a model folder: the reason and the required layout."""
    return f"model folder {place} cannot be loaded ({reason}); {_LAYOUT}."


def object_store_advice(kind: str, uri: str) -> str:
    """Return an error message on a model that is on an object store."""
    copy = f"aws s3 cp --recursive {uri} FOLDER" if uri.startswith("s3://") else f"copy {uri}"
    return (
        f"{kind} {uri} is on an object store, but the engine reads local folders; copy it to "
        f"each machine that runs an engine (`{copy}`) and name that folder."
    )


def hub_advice(kind: str, name: str, reason: str) -> str:
    """Return an error message on a model that is neither a local folder nor on the hub."""
    remedy = "HF_HUB_OFFLINE is set: unset it" if is_offline() else "check the id and the network"
    instead = _WITHOUT_HUB.get(kind, "")
    return (
        f"{kind} {name!r} is neither a local folder nor on the hub ({reason}); {remedy}, "
        f"or download it once with `hf download {name}`{instead}."
    )


def is_offline() -> bool:
    """Return whether the hub is disabled by HF_HUB_OFFLINE."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def _check(kind: str, name: str, file: str = "", revision: str = "") -> None:
    if _URI.match(name):
        raise ModelNotFound(object_store_advice(kind, name))
    place = Path(name).expanduser()
    if place.exists():
        return
    owner_repo = "/".join(name.split("/")[:2])
    if name.startswith(("/", ".", "~")) or "\\" in name or not _HUB_ID.fullmatch(owner_repo):
        raise ModelNotFound(f"{kind} {name} does not exist; check the path.")
    if name.endswith(".safetensors") and name.count("/") < 2:
        raise ModelNotFound(f"{kind} {name} is not a local file; check the path.")
    if is_offline() and file and not _is_cached(owner_repo, file, revision):
        raise ModelNotFound(hub_advice(kind, name, "it is not in the local cache"))


def _is_cached(repo: str, file: str, revision: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, file, revision=revision or None), str)


def _check_layout(folder: Path) -> None:
    missing = [name for name in _CONFIGS if not (folder / name).is_file()]
    if (folder / "transformer").is_dir():
        return  # the loader reports the unknown kind
    if missing:
        raise ModelNotFound(folder_advice(folder, f"it lacks {', '.join(missing)}"))
    for part in ("unet", "vae"):
        if not any((folder / part).glob("*.safetensors")):
            raise ModelNotFound(folder_advice(folder, f"{part}/ has no .safetensors file"))
