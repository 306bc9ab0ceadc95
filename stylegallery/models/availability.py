"""Check, without torch, that the models a run names can be found: before any work begins."""

import os
import re
from pathlib import Path
from typing import Final

from schemas.engine import EngineSpec
from stylegallery.errors import ModelNotFound

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
"""OWNER/NAME of the Hugging Face hub, or a bare name of its early days."""
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
_CONFIGS: Final = ("unet/config.json", "vae/config.json", "scheduler/scheduler_config.json")


def check_available(spec: EngineSpec) -> None:
    """Refuse an engine whose model, LoRA, encoder, depth model or SAM is not to be found here.

    Weights are not read, and the network is not asked: a hub id passes unless the hub is switched
    off (HF_HUB_OFFLINE) and the local cache does not hold it.

    Raises:
        ModelNotFound: one of them is not there; the message says which and what to do.
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


def folder_advice(place: Path, reason: str) -> str:
    """Return what is wrong with a model folder and what it must hold, as one sentence."""
    return f"model folder {place} cannot be loaded ({reason}); {_LAYOUT}."


def object_store_advice(kind: str, uri: str) -> str:
    """Return what to do about a model that lies on an object store, as one sentence."""
    copy = f"aws s3 cp --recursive {uri} FOLDER" if uri.startswith("s3://") else f"copy {uri}"
    return (
        f"{kind} {uri} lies on an object store, and the engine reads local folders; copy it to "
        f"each machine that runs an engine (`{copy}`) and name that folder."
    )


def hub_advice(kind: str, name: str, reason: str) -> str:
    """Return what to do about a model that neither a folder nor the hub has, as one sentence."""
    remedy = "HF_HUB_OFFLINE is set: unset it" if is_offline() else "check the id and the network"
    instead = _WITHOUT_HUB.get(kind, "")
    return (
        f"{kind} {name!r} is neither a folder here nor loadable from the hub ({reason}); {remedy}, "
        f"or download it once with `hf download {name}`{instead}."
    )


def is_offline() -> bool:
    """Tell whether the operator has switched the hub off."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def _check(kind: str, name: str, file: str = "", revision: str = "") -> None:
    if _URI.match(name):
        raise ModelNotFound(object_store_advice(kind, name))
    place = Path(name).expanduser()
    if place.exists():
        return
    owner_repo = "/".join(name.split("/")[:2])
    if name.startswith(("/", ".", "~")) or "\\" in name or not _HUB_ID.fullmatch(owner_repo):
        raise ModelNotFound(f"{kind} {name} is not there; check the path.")
    if name.endswith(".safetensors") and name.count("/") < 2:
        raise ModelNotFound(f"{kind} {name} is not a file here; check the path.")
    if is_offline() and file and not _is_cached(owner_repo, file, revision):
        raise ModelNotFound(hub_advice(kind, name, "it is not in the local cache"))


def _is_cached(repo: str, file: str, revision: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, file, revision=revision or None), str)


def _check_layout(folder: Path) -> None:
    lacking = [name for name in _CONFIGS if not (folder / name).is_file()]
    if (folder / "transformer").is_dir():
        return  # the loader says that it is of a kind that is not known
    if lacking:
        raise ModelNotFound(folder_advice(folder, f"it lacks {', '.join(lacking)}"))
    for part in ("unet", "vae"):
        if not any((folder / part).glob("*.safetensors")):
            raise ModelNotFound(folder_advice(folder, f"{part}/ has no .safetensors file"))
