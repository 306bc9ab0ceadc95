"""A short name for everything about the engine that may change pixels. Imports no torch."""

import hashlib
from importlib.metadata import version
from pathlib import Path

from schemas.engine import EngineSpec

METHOD_VERSION = 1
"""Raised whenever a change of the code changes pixels for the same parameters."""


def embedded_folder() -> Path:
    """Return the folder of the model that ships with the package."""
    return Path(__file__).parent / "embedded"


def model_location(model: str) -> str | Path:
    """Return the folder that `model` names, or the hub id as it stands."""
    if model == "embedded":
        return embedded_folder()
    folder = Path(model).expanduser()
    return folder if folder.is_dir() else model


def engine_fingerprint(spec: EngineSpec, device_class: str) -> str:
    """Name model, encoder, precision, device class and the versions that decide pixels.

    Args:
        spec: The engine asked for.
        device_class: `cpu`, `cuda` or `mps`; CPU and GPU pixels differ.

    Returns:
        Text such as `embedded:1f3a…/efficientnet-lite0/cpu-auto/torch-2.13.0/method-1`.
    """
    place = model_location(spec.model)
    name = "embedded" if spec.model == "embedded" else spec.model
    content = _folder_hash(place) if isinstance(place, Path) else spec.revision or "default"
    return "/".join(
        [
            f"{name}:{content}",
            spec.encoder,
            f"{device_class}-{spec.dtype}",
            f"torch-{version('torch').split('+')[0]}",
            f"method-{METHOD_VERSION}",
        ]
    )


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".safetensors", ".json"} and path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
