"""A short name for everything about the engine that may change pixels. Imports no torch."""

import hashlib
from importlib.metadata import version
from pathlib import Path

from schemas.engine import EngineSpec, LoraSpec

METHOD_VERSION = 8
"""Raised whenever a change of the code changes pixels for the same parameters."""


def embedded_folder() -> Path:
    """Return the folder of the model that ships with the package."""
    return Path(__file__).parents[1] / "embedded"


def model_location(model: str) -> str | Path:
    """Return the folder or file that `model` names, or the hub id as it stands."""
    if model == "embedded":
        return embedded_folder()
    place = Path(model).expanduser()
    return place if place.exists() else model


def lora_location(weights: str) -> str | Path:
    """Return the file that `weights` names, or the hub id as it stands."""
    file = Path(weights).expanduser()
    return file if file.is_file() else weights


def engine_fingerprint(spec: EngineSpec, device_class: str) -> str:
    """Name models, LoRAs, precision, device class and the versions that decide pixels.

    Folders and files are named by their content. Of a hub id only the revision is known without
    the network: give one where its default branch may move.

    Args:
        spec: The engine asked for.
        device_class: `cpu`, `cuda` or `mps`; CPU and GPU pixels differ.

    Returns:
        Text such as `embedded:1f3a…/efficientnet-lite0/cpu-auto/torch-2.13.0/method-1`, with
        `config:…` and `lora:…` after the model, `depth:…` and `sam:…` after the encoder, where
        there are any.
    """
    place = model_location(spec.model)
    content = _content_hash(place) if isinstance(place, Path) else spec.revision or "default"
    return "/".join(
        [
            f"{spec.model}:{content}",
            *_config_names(spec),
            *(f"lora:{_lora_name(lora)}" for lora in spec.loras),
            _by_content(spec.encoder),
            *_hint_names(spec),
            f"{device_class}-{spec.dtype}",
            f"torch-{version('torch').split('+')[0]}",
            f"method-{METHOD_VERSION}",
        ]
    )


def _config_names(spec: EngineSpec) -> list[str]:
    """Name the layout of a single file; of its folder the weights themselves are not read."""
    folder = Path(spec.config_folder).expanduser()
    if not spec.config_folder or not folder.is_dir():
        return []
    return [f"config:{_content_hash(folder, '*.json', 'null_embedding.safetensors')}"]


def _lora_name(lora: LoraSpec) -> str:
    place = lora_location(lora.weights)
    content = _content_hash(place) if isinstance(place, Path) else lora.weights
    return f"{content}@{lora.scale}"


def _hint_names(spec: EngineSpec) -> list[str]:
    names = {"depth": spec.depth, "sam": spec.sam}
    return [f"{kind}:{_by_content(name)}" for kind, name in names.items() if name]


def _by_content(name: str) -> str:
    """Return a folder's hash, or the hub id as it stands."""
    return _content_hash(Path(name)) if Path(name).is_dir() else name


def _content_hash(place: Path, *patterns: str) -> str:
    """Hash a file, or those of a folder's files that match; all weights and configs if not told."""
    digest = hashlib.sha256()
    patterns = patterns or ("*.safetensors", "*.json")
    found = {path for pattern in patterns for path in place.rglob(pattern) if path.is_file()}
    for path in [place] if place.is_file() else sorted(found):
        digest.update(path.relative_to(place).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
