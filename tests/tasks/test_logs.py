"""Structured logging: one JSON object a line, with the ids of its item."""

import json
import logging
from typing import Any

from tasks.logs import JsonLines, log_context


def line(formatter: JsonLines, text: str, **extra: str) -> dict[str, Any]:
    record = logging.getLogger("tasks.x").makeRecord(
        "tasks.x", logging.WARNING, "f", 1, text, (), None, extra=extra
    )
    said = formatter.format(record)
    assert "\n" not in said
    return json.loads(said)


def test_lines_have_context_fields_and_record_fields_take_precedence() -> None:
    formatter = JsonLines("%(message)s", None, "%", run_id="r1")
    plain = line(formatter, "two\nlines")
    assert plain.pop("timestamp").endswith("+00:00")
    assert plain == {
        "levelname": "WARNING", "name": "tasks.x", "message": "two\nlines", "run_id": "r1",
    }  # fmt: skip
    with log_context(run_id="r2", gallery_id="ink"):
        inside = line(formatter, "x", gallery_id="oil")
    assert (inside["run_id"], inside["gallery_id"]) == ("r2", "oil")
    assert "gallery_id" not in line(formatter, "x")
