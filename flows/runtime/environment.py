"""Environment variables that must be set before Prefect, Ray, torch and HTTP clients are imported.

Variables that the operator has set are kept. Child processes inherit all of them.
"""

import os
from contextlib import suppress
from typing import Final

from stylegallery.models.threads import limit_spinning
from tasks.errors import PlanError
from tasks.storage import scratch

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def set_defaults() -> None:
    """Set the defaults in the environment of this process; imports nothing heavy."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    limit_spinning()
    _exempt_loopback_from_proxies()
    _set_writable_tmpdir()


def _exempt_loopback_from_proxies() -> None:
    """Add the loopback addresses to `no_proxy`.

    Clients read the variable in lower case, in upper case or both, so both are set.
    """
    named = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    hosts = [host.strip() for text in named for host in text.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += _LOOPBACK
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(dict.fromkeys(hosts))


def _set_writable_tmpdir() -> None:
    """Set TMPDIR to another folder where the usual one is missing, read-only or full."""
    with suppress(PlanError):  # reported by the commands that need a temporary folder
        if (found := scratch.temporary_folder()) != os.environ.get("TMPDIR", scratch.USUAL):
            os.environ["TMPDIR"] = found
