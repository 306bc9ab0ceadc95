"""Structured logging: one JSON object a line if STYLEGALLERY_LOG_FORMAT=json.

Each object has `timestamp`, `levelname`, `name` and `message`, and `run_id` during a run; lines
about an item also have `plan_part`, `item_id`, `product_id`, `view` and `gallery_id`.
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
"""Values of the variable, case-insensitive; empty means text."""

_context: ContextVar[dict[str, str]] = ContextVar("log_context")


class JsonLines(JsonFormatter):
    """Formats a record as JSON, with its extra fields and those of :func:`log_context`."""

    def __init__(self, *_: Any, **fields: str) -> None:
        """Add `fields` to every line; ignore the positional arguments of Prefect's logging.yml."""
        super().__init__("%(levelname)s %(name)s %(message)s", timestamp=True)
        self._fields = fields

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Add the context fields; fields of the record take precedence."""
        return {**self._fields, **_context.get({}), **log_data}


def wants_json() -> bool:
    """Tell whether STYLEGALLERY_LOG_FORMAT asks for JSON."""
    return os.environ.get(FORMAT_VARIABLE, "").lower() == "json"


@contextmanager
def log_context(**fields: str) -> Iterator[None]:
    """Add fields to every line that this thread logs in the block."""
    before = _context.set({**_context.get({}), **fields})
    try:
        yield
    finally:
        _context.reset(before)


def configure_prefect_logs() -> None:
    """Make Prefect's console log JSON, if requested. Call before prefect is imported."""
    if wants_json():
        os.environ.setdefault("PREFECT_LOGGING_FORMATTERS_JSON_CLASS", "tasks.logs.JsonLines")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER", "json")


def configure_actor_logs(run_id: str) -> None:
    """Make an actor's process log JSON, if requested, at level INFO for our own packages."""
    if wants_json():
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines(run_id=run_id))
        root = logging.getLogger()
        root.handlers = [handler]
        for package in ("tasks", "stylegallery"):
            logging.getLogger(package).setLevel(logging.INFO)
