"""What has to stand in the environment before Prefect, Ray, torch and HTTP clients are imported.

Whatever the operator has set stays as it is. The processes that we start inherit all of it.
"""

import os
from contextlib import suppress
from typing import Final

from stylegallery.models.threads import limit_spinning
from tasks.errors import PlanError
from tasks.storage import scratch

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def set_defaults() -> None:
    """Prepare the environment of this process; imports nothing heavy."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    limit_spinning()
    _reach_loopback_directly()
    _write_where_it_works()


def _reach_loopback_directly() -> None:
    """Keep what is meant for this machine away from a proxy.

    Some programs read the variable in lower case, some in upper case, some either.
    """
    named = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    hosts = [host.strip() for text in named for host in text.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += _LOOPBACK
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(dict.fromkeys(hosts))


def _write_where_it_works() -> None:
    """Name another folder for temporary files where the usual one is gone, read-only or full."""
    with suppress(PlanError):  # told by those commands that need one
        if (found := scratch.temporary_folder()) != os.environ.get("TMPDIR", scratch.USUAL):
            os.environ["TMPDIR"] = found
