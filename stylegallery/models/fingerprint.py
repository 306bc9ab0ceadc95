"""Fingerprint of everything about the engine that can change pixels; imports no torch."""

import hashlib
from importlib.metadata import version
from pathlib import Path

from schemas.engine import EngineSpec, LoraSpec

METHOD_VERSION = 8
"""Incremented when a code change changes pixels for equal parameters."""


def embedded_folder() -> Path:
    """Return the folder of the model that ships with the package."""
    return Path(__file__).parents[1] / "embedded"


def model_location(model: str) -> str | Path:
    """Return the local folder or file of a model, or its hub id."""
    if model == "embedded":
        return embedded_folder()
    place = Path(model).expanduser()
    return place if place.exists() else model


def lora_location(weights: str) -> str | Path:
    """Return the local file of LoRA weights, or their hub id."""
    file = Path(weights).expanduser()
    return file if file.is_file() else weights


def engine_fingerprint(spec: EngineSpec, device_class: str) -> str:
    """Return models, LoRAs, dtype, device class and versions as one string.

    Folders and files are identified by a hash of their content, hub ids by their revision, since
    the network is not used: set a revision if the default branch may change.

    Args:
        spec: The engine.
        device_class: `cpu`, `cuda` or `mps`; CPU and GPU pixels differ.

    Returns:
        Text such as `embedded:1f3a…/efficientnet-lite0/cpu-auto/torch-2.13.0/method-1`, with
        `config:…` and `lora:…` after the model, and `depth:…` and `sam:…` after the encoder, if
        set.
    """
    return "/".join(
        [
            *_model_names(spec),
            _by_content(spec.encoder),
            *_prior_names(spec),
            *_numbers(spec, device_class),
            f"method-{METHOD_VERSION}",
        ]
    )


def learning_fingerprint(spec: EngineSpec, device_class: str) -> str:
    """Return what of an engine's fingerprint can change what is learnt.

    Encoder, depth model, SAM and the version of the methods cannot.
    """
    return "/".join([*_model_names(spec), *_numbers(spec, device_class)])


def _model_names(spec: EngineSpec) -> list[str]:
    place = model_location(spec.model)
    content = _content_hash(place) if isinstance(place, Path) else spec.revision or "default"
    loras = [f"lora:{_lora_name(lora)}" for lora in spec.loras]
    return [f"{spec.model}:{content}", *_config_names(spec), *loras]


def _numbers(spec: EngineSpec, device_class: str) -> list[str]:
    return [f"{device_class}-{spec.dtype}", f"torch-{version('torch').split('+')[0]}"]


def _config_names(spec: EngineSpec) -> list[str]:
    """Return the hash of a single file's configuration folder, without its weights, if any."""
    folder = Path(spec.config_folder).expanduser()
    if not spec.config_folder or not folder.is_dir():
        return []
    return [f"config:{_content_hash(folder, '*.json', 'null_embedding.safetensors')}"]


def _lora_name(lora: LoraSpec) -> str:
    place = lora_location(lora.weights)
    content = _content_hash(place) if isinstance(place, Path) else lora.weights
    return f"{content}@{lora.scale}"


def _prior_names(spec: EngineSpec) -> list[str]:
    names = {"depth": spec.depth, "sam": spec.sam}
    return [f"{kind}:{_by_content(name)}" for kind, name in names.items() if name]


def _by_content(name: str) -> str:
    """Return a folder's hash, or the hub id."""
    return _content_hash(Path(name)) if Path(name).is_dir() else name


def _content_hash(place: Path, *patterns: str) -> str:
    """Hash a file, or the files of a folder that match; by default all weights and configs."""
    digest = hashlib.sha256()
    patterns = patterns or ("*.safetensors", "*.json")
    found = {path for pattern in patterns for path in place.rglob(pattern) if path.is_file()}
    for path in [place] if place.is_file() else sorted(found):
        digest.update(path.relative_to(place).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
