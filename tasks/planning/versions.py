"""Which bytes, device and packages a run is about."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from schemas.flows import PrepareSpec
from schemas.run import RestyleSpec
from tasks import storage
from tasks.errors import PlanError, StorageError

UNREADABLE = "unreadable"
"""Version of what may not be read: the items that need it are refused one by one."""

_PACKAGES = ("stylegallery", "torch", "diffusers", "transformers", "ray", "pyarrow", "s3fs")


def source_versions(uris: Iterable[str]) -> dict[str, str]:
    """Name which bytes are at each URI.

    Raises:
        StorageError: a store is away for the moment, so that nothing can be said.
    """
    found = storage.versions(uris)
    return {uri: UNREADABLE if isinstance(v, StorageError) else v for uri, v in found.items()}


def device_class(spec: RestyleSpec | PrepareSpec) -> str:
    """Return `cpu`, `cuda` or `mps`: where the engines of a run will work.

    What is asked for decides, not what this machine has: the driver may run on another.

    Raises:
        PlanError: GPUs are asked for together with the device `cpu`.
    """
    device, gpus = spec.engine.device, spec.pool.gpus_per_actor
    if gpus > 0 and device in ("cpu", "mps"):
        raise PlanError(
            f"{gpus:g} GPUs per actor are asked for, but the device is {device}; "
            "leave the device at auto, or set GPUs per actor to 0"
        )
    if device == "auto":
        return "cuda" if gpus > 0 else "cpu"
    return device


def package_versions() -> dict[str, str]:
    """Return the versions that may matter when a run is looked at later."""
    found = {"python": python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
