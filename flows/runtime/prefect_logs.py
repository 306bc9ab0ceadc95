"""Keeps Prefect's own messages off the terminal of a person who asked for restyled photos.

Import this before anything that imports prefect.
"""

import logging
import os

from tasks.logs import configure_prefect_logs

_HIDDEN = (
    "prefect.flow_runs",
    "prefect.task_runs",
    "prefect.events",
    "EventsWorker",
    "APILogWorker",
)
"""Loggers of how runs ended, and of what could not be sent to a server that went away."""


def quiet_prefect(*, verbose: bool) -> None:
    """Show warnings of everybody, but neither how each Prefect run ended nor what was not sent.

    What ends a run comes back to the command line as an exception and is shown there, and one
    line says that the server went away. The Prefect server gets all messages either way.
    """
    configure_prefect_logs()
    if verbose:
        return
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")
    logging.raiseExceptions = False  # a log line that Prefect's server does not take
    import prefect.main  # noqa: F401  # sets up the handlers that get the filter

    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_not_hidden)


def _is_not_hidden(record: logging.LogRecord) -> bool:
    return not record.name.startswith(_HIDDEN) or record.levelno >= logging.CRITICAL
