"""`stylegallery serve`: the flows as deployments of a Prefect server, without a work pool."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.settings import check_log_format, from_file, resolve
from flows.runtime.errors import UsageError
from tasks.logs import configure_prefect_logs

_FORWARDED = "flows,tasks,stylegallery"


def serve(
    *,
    cron: Annotated[
        str, Parameter(help="Restyle on this schedule, such as `0 2 * * *`; needs --config.")
    ] = "",
    config: Annotated[
        Path | None,
        Parameter(help="TOML file with the settings of the scheduled run, as for `run`."),
    ] = None,
    limit: Annotated[int, Parameter(help="Flow runs at a time; others wait.")] = 1,
) -> None:
    """Offer the flows in the UI of the Prefect server at PREFECT_API_URL, and run what is asked.

    The deployments are `restyle-catalog`, `preview`, `prepare-gallery` and `evaluate-run`, each
    named `stylegallery`. Stop it with Ctrl-C; runs that wait are done when it is back.
    """
    if cron and not config:
        raise UsageError("--cron needs --config: a scheduled run has nobody to fill in its form")
    if not os.environ.get("PREFECT_API_URL"):
        raise UsageError(
            "PREFECT_API_URL is not set; start a server (`prefect server start`) and name its API, "
            "such as http://127.0.0.1:4200/api"
        )
    check_log_format(os.environ)
    spec = resolve(from_file(config)) if config else None
    from flows.runtime import prefect_api

    # What the batch logs with its item ids goes to the run's page; other threads have none.
    os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", _FORWARDED)
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    configure_prefect_logs()
    prefect_api.choose_home()
    prefect_api.drop_unusable_proxies()
    prefect_api.check()
    from prefect import serve as serve_all

    from flows.deployments import deployments

    serve_all(*deployments(spec, cron), limit=limit)
