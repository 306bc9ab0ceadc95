"""Log lines as JSON where the operator asks for it: one object a line, with the ids it is about.

`STYLEGALLERY_LOG_FORMAT=json` is for machines that collect lines. Each has `timestamp`,
`levelname`, `name` and `message`; `run_id` where a run is known; lines of an item also
`plan_part`, `item_id`, `product_id`, `view` and `gallery_id`.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

FORMAT_VARIABLE = "STYLEGALLERY_LOG_FORMAT"
LOG_FORMATS = ("", "text", "json")
"""What the variable may say, in any case of letters; nothing is text."""

_about: ContextVar[dict[str, str]] = ContextVar("about")


class JsonLines(JsonFormatter):
    """Formats a record with its extra fields, and with what :func:`about` says."""

    def __init__(self, *_: Any, **fields: str) -> None:
        """Take fields that every line has; what Prefect's logging file passes on is not used."""
        super().__init__("%(levelname)s %(name)s %(message)s", timestamp=True)
        self._fields = fields

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Add what the block is about; what the record itself says comes first."""
        return {**self._fields, **_about.get({}), **log_data}


def wants_json() -> bool:
    """Tell whether the operator asks for JSON."""
    return os.environ.get(FORMAT_VARIABLE, "").lower() == "json"


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Add fields to every line that is logged in the block, by this thread."""
    before = _about.set({**_about.get({}), **fields})
    try:
        yield
    finally:
        _about.reset(before)


def set_up_prefect() -> None:
    """Have Prefect's console write JSON, if asked for; before anything imports prefect."""
    if wants_json():
        os.environ.setdefault("PREFECT_LOGGING_FORMATTERS_JSON_CLASS", "tasks.logs.JsonLines")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER", "json")


def set_up_actor(run_id: str) -> None:
    """Have an actor's process write JSON to its own log, if asked for, each item's end included."""
    if wants_json():
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines(run_id=run_id))
        root = logging.getLogger()
        root.handlers = [handler]
        for house in ("tasks", "stylegallery"):
            logging.getLogger(house).setLevel(logging.INFO)
