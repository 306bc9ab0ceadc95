"""`stylegallery doctor`: check this machine, and print what is missing and how to fix it."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from flows.runtime.errors import EXIT_OK, EXIT_USAGE, UsageError
from stylegallery.models.availability import is_offline
from stylegallery.models.threads import overload_message, usable_cores
from tasks.errors import PlanError
from tasks.storage import scratch

_PACKAGES: Final = (
    "torch",
    "diffusers",
    "transformers",
    "scikit-learn",
    "pyarrow",
    "prefect",
    "ray",
    "fsspec",
    "s3fs",
    "jinja2",
)
_FASTAPI: Final = ((0, 139), (0, 151))
"""Releases that the server of Prefect 3.8 works with: from the first, below the second."""
_MIN_FREE_GB: Final = 5


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        name: What was checked.
        text: What was found.
        remedy: How to fix it; empty if all is well.
        fatal: Whether `stylegallery` cannot work without the fix.
    """

    name: str
    text: str
    remedy: str = ""
    fatal: bool = True


def doctor() -> int:
    """Check the versions, device, model, Prefect, storage and disk of this machine.

    Returns:
        The exit code: 0, or 2 if something necessary is missing.
    """
    broken = False
    for check in _CHECKS:
        for finding in check():
            mark = "ok  " if not finding.remedy else "MISS" if finding.fatal else "note"
            print(f"{mark}  {finding.name:<16}{finding.text}")
            if finding.remedy:
                print(f"{'':22}{finding.remedy}")
            broken |= bool(finding.remedy) and finding.fatal
    return EXIT_USAGE if broken else EXIT_OK


def _python() -> Iterator[Finding]:
    fits = sys.version_info >= (3, 11)
    yield Finding("python", platform.python_version(), "" if fits else "Install Python 3.11.")


def _packages() -> Iterator[Finding]:
    for name in _PACKAGES:
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, "not installed", "pip install stylegallery")


def _fastapi() -> Iterator[Finding]:
    try:
        text = version("fastapi")
    except PackageNotFoundError:
        return
    release = tuple(int(part) for part in text.split(".")[:2])
    low, high = _FASTAPI
    remedy = "" if low <= release < high else "pip install 'fastapi>=0.139,<0.151'"
    yield Finding("fastapi", text + (" breaks Prefect's server" if remedy else ""), remedy)


def _package_location() -> Iterator[Finding]:
    """Check that our packages lie in one folder: PyPI has others named flows, tasks and schemas."""
    specs = {n: importlib.util.find_spec(n) for n in ("flows", "tasks", "stylegallery", "schemas")}
    homes = {Path(s.origin).parent.parent for s in specs.values() if s and s.origin}
    text = ", ".join(sorted(map(str, homes)))
    together = len(homes) == 1 and all(specs.values())
    remedy = "Use a fresh environment: another package has the name of one of ours."
    yield Finding("packages", text, "" if together else remedy)


def _device() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        yield Finding("device", f"{len(names)} GPU: {', '.join(sorted(set(names)))}")
    else:
        threads = torch.get_num_threads()
        yield Finding("device", f"CPU, {usable_cores()} usable cores, {threads} threads")


def _load() -> Iterator[Finding]:
    text = f"{os.getloadavg()[0]:.1f} on {usable_cores()} usable cores"
    remedy = "Stop other processes, or set OMP_NUM_THREADS=1." if overload_message() else ""
    yield Finding("load", text, remedy, fatal=False)


def _embedded_model() -> Iterator[Finding]:
    from stylegallery.errors import StyleGalleryError
    from stylegallery.models.fingerprint import model_location

    try:
        folder = Path(model_location("embedded"))
        lacking = [n for n in ("unet", "vae", "scheduler") if not (folder / n).is_dir()]
    except StyleGalleryError as error:
        yield Finding("model", "embedded model not found", str(error))
        return
    remedy = "Install the package again; its model files are incomplete." if lacking else ""
    yield Finding("model", f"embedded, {folder}", remedy)


def _services() -> Iterator[Finding]:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    yield Finding("s3", endpoint or "AWS (AWS_ENDPOINT_URL is not set)")
    yield Finding("model hub", "offline" if is_offline() else "used for hub ids only")


def _temporary_folders() -> Iterator[Finding]:
    """Find the writable folders that a run would use for temporary files."""
    checks = (("temporary files", scratch.temporary_folder), ("ray's files", scratch.ray_folder))
    for name, find in checks:
        try:
            yield Finding(name, find())
        except PlanError as error:
            yield Finding(name, "no writable folder", str(error))
    for variable in ("RAY_TMPDIR", "TMPDIR"):
        named = os.environ.get(variable, "")
        if named and (why := scratch.ray_problem(named)):
            text, remedy = f"{variable}={named} is not used by Ray", f"{why}; name another folder."
            yield Finding("ray's files", text, remedy, fatal=False)


def _prefect() -> Iterator[Finding]:
    """Check Prefect's folder, the proxies that its client would use, and its API."""
    if importlib.util.find_spec("prefect") is None:
        return
    from flows.runtime import prefect_api

    home, why = prefect_api.home_problem()
    remedy = f"Runs use a temporary folder: {why}. Set PREFECT_HOME to keep the history of runs."
    yield Finding("prefect's home", str(home), remedy if why else "", fatal=False)
    prefect_api.choose_home()
    proxies = prefect_api.proxy_variables()
    try:
        dropped = prefect_api.drop_unusable_proxies()
        text = ", ".join(proxies) or "none set"
        remedy = f"pip install socksio: {', '.join(dropped)} cannot be used without it."
        yield Finding("proxies", text, remedy if dropped else "", fatal=False)
    except UsageError as error:
        yield Finding("proxies", ", ".join(proxies), str(error))
        return
    url = prefect_api.configured_url()
    try:
        if url:
            prefect_api.check_api()
        yield Finding("prefect server", url or "not set: each run starts a temporary one")
    except UsageError as error:
        yield Finding("prefect server", "no answer", str(error))


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    remedy = "" if free >= _MIN_FREE_GB else "Free some space, or write to another disk."
    yield Finding("disk", f"{free:.0f} GB free here", remedy, fatal=False)


_CHECKS: Final[tuple[Callable[[], Iterator[Finding]], ...]] = (
    _python,
    _packages,
    _fastapi,
    _package_location,
    _device,
    _load,
    _embedded_model,
    _services,
    _temporary_folders,
    _prefect,
    _disk,
)
