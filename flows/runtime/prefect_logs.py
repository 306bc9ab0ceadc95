"""Hides Prefect's own messages from a command's terminal.

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
"""Loggers of final states, and of messages that could not be sent to a lost server."""


def hide_prefect_logs(*, verbose: bool) -> None:
    """Show warnings, except those about final states and unsent messages.

    The command line reports errors of a run itself, and logs one line when the server is lost.
    The Prefect server receives all messages either way.

    Args:
        verbose: Hide nothing.
    """
    configure_prefect_logs()
    if verbose:
        return
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")
    logging.raiseExceptions = False  # raised when a log line cannot be sent to the server
    import prefect.main  # noqa: F401  # sets up the handlers that get the filter

    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_not_hidden)


def _is_not_hidden(record: logging.LogRecord) -> bool:
    return not record.name.startswith(_HIDDEN) or record.levelno >= logging.CRITICAL
