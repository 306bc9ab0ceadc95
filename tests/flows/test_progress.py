"""The progress artifact of a run, without a Prefect server."""

from typing import Any
from uuid import UUID

import prefect.artifacts
import pytest

from flows.progress import ProgressArtifact
from tasks.execution.progress import Progress


def test_styles_and_items_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[float, str]] = []

    def create(percent: float, *, key: str, description: str) -> UUID:
        told.append((percent, description))
        return UUID(int=1)

    def update(_artifact: UUID, *, progress: float, description: str) -> None:
        told.append((progress, description))

    monkeypatch.setattr(prefect.artifacts, "create_progress_artifact", create)
    monkeypatch.setattr(prefect.artifacts, "update_progress_artifact", update)
    monkeypatch.setattr("flows.progress._SECONDS_BETWEEN_UPDATES", 0.0)
    artifact = ProgressArtifact()
    given: list[dict[str, Any]] = [
        {"done": 0, "total": 0, "phase": "starting Ray"},
        {"done": 3, "total": 12, "phase": "learning"},
        {"done": 0, "total": 4, "phase": "loading the engine"},
        {"done": 1, "total": 4, "ok": 1},
    ]
    for values in given:
        artifact(Progress(**values))
    assert told == [(25.0, "learning 3 of 12"), (25.0, "1 ok, 0 rejected, 0 failed of 4 items")]
