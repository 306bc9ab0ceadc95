"""Versions of a run's inputs, its device class and its packages."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from schemas.flows import PrepareSpec
from schemas.run import RestyleSpec
from tasks import storage
from tasks.errors import PlanError, StorageError

UNREADABLE = "unreadable"
"""Version of a file that cannot be read; each item that needs it is rejected."""

_PACKAGES = ("stylegallery", "torch", "diffusers", "transformers", "ray", "pyarrow", "s3fs")


def source_versions(uris: Iterable[str]) -> dict[str, str]:
    """Return the version of the file at each URI, UNREADABLE for a file that cannot be read.

    Raises:
        StorageError: a store is unavailable.
    """
    found = storage.versions(uris)
    return {uri: UNREADABLE if isinstance(v, StorageError) else v for uri, v in found.items()}


def device_class(spec: RestyleSpec | PrepareSpec) -> str:
    """Return the device of a run's engines: `cpu`, `cuda` or `mps`.

    Only the request counts, since the engines may run on other machines than the driver.

    Raises:
        PlanError: GPUs are asked for together with the device `cpu`.
    """
    device, gpus = spec.engine.device, spec.pool.gpus_per_actor
    if gpus > 0 and device in ("cpu", "mps"):
        raise PlanError(
            f"{gpus:g} GPUs per actor are requested, but the device is {device}; "
            "set the device to auto, or GPUs per actor to 0"
        )
    if device == "auto":
        return "cuda" if gpus > 0 else "cpu"
    return device


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results, for run.json."""
    found = {"python": python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
