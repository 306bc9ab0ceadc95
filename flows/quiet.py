"""Keeps Prefect's own messages off the terminal of a person who asked for restyled photos.

Import this before anything that imports prefect.
"""

import logging
import os

from tasks.logs import set_up_prefect

_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


def quiet_prefect(*, verbose: bool) -> None:
    """Show warnings of everybody, but not how each Prefect run ended.

    What ends a run comes back to the command line as an exception and is shown there, so nothing
    is hidden. The Prefect server gets all messages either way.
    """
    set_up_prefect()
    if verbose:
        return
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "ERROR")
    import prefect.main  # noqa: F401  # sets up the handlers that get the filter

    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_no_run_message)


def _is_no_run_message(record: logging.LogRecord) -> bool:
    return not record.name.startswith(_RUN_LOGGERS) or record.levelno >= logging.CRITICAL
