"""Actors that fail on purpose, and one that logs the items it starts."""

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from schemas.result import ErrorInfo, ItemResult, MatchRow
from tasks.execution.actor import StyleActor
from tasks.messages import ActorSetup, Assignment, PreparingReferences
from tasks.records.item_key import key_of

LOG = "starts.log"


def starts(output: str) -> list[tuple[str, str, int]]:
    """Return the started items in order: gallery/product, attempt, process id."""
    path = Path(output, LOG)
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, attempt, int(pid)) for name, attempt, pid in (line.split() for line in lines)]


def note_start(output: str, assignment: Assignment) -> None:
    item = assignment.item
    line = f"{item.gallery_id}/{item.product_id} {assignment.attempt} {os.getpid()}\n"
    with Path(output, LOG).open("a") as file:
        file.write(line)


class LightActor(StyleActor):
    """An actor without engine and torch; the names of products choose what happens to them."""

    def __init__(self, setup: ActorSetup) -> None:
        self._setup = setup
        self._context: Any = SimpleNamespace(batch=setup.batch)

    def _announced(self, group: list[Assignment]) -> Iterator[PreparingReferences]:
        return iter(())

    def _restyle(
        self, group: list[Assignment], remaining: list[Assignment]
    ) -> list[Callable[[], ItemResult]]:
        return [partial(lambda row: row, self.do(assignment)) for assignment in group]

    def do(self, assignment: Assignment) -> ItemResult:
        item, output = assignment.item, self._setup.output
        note_start(output.uri, assignment)
        if item.product_id.startswith("poison"):
            os.kill(os.getpid(), signal.SIGKILL)
        if item.product_id.startswith("hang"):
            time.sleep(600)
        if item.product_id.startswith("slow"):
            time.sleep(0.2)
        if item.product_id.startswith("flaky") and assignment.attempt == 1:
            return self._row(assignment, status="failed", error=passing_fault())
        data = item.item_id.encode()
        (output / item.asset_key).write_bytes(data)
        return self._row(
            assignment,
            status="ok",
            asset_uri=item.asset_key,
            asset_sha256=hashlib.sha256(data).hexdigest(),
            asset_bytes=len(data),
            matches=[a_match()],
        )

    def _row(self, assignment: Assignment, **values: object) -> ItemResult:
        return ItemResult.model_validate(
            {
                **key_of(assignment.item)._asdict(),
                "attempts": assignment.attempt,
                "run_id": self._setup.run_id,
                "finished_at": datetime.now(UTC),
                **values,
            }
        )


class BrokenActor(LightActor):
    """Its engine cannot be loaded."""

    def __init__(self, setup: ActorSetup) -> None:
        raise ValueError("no weights in the folder; fetch them first")


class FrozenActor(LightActor):
    """Stops while it loads its engine, as often as the file `freeze` in its output says."""

    def __init__(self, setup: ActorSetup) -> None:
        super().__init__(setup)
        with Path(setup.output.uri, "loads.log").open("a") as file:
            file.write(f"{os.getpid()}\n")
        often = int(Path(setup.output.uri, "freeze").read_text())
        if len(Path(setup.output.uri, "loads.log").read_text().split()) <= often:
            os.kill(os.getpid(), signal.SIGSTOP)


class SlowActor(StyleActor):
    """The real actor with a log, slowed down so that tests can kill it."""

    def _restyle(
        self, group: list[Assignment], remaining: list[Assignment]
    ) -> list[Callable[[], ItemResult]]:
        for assignment in group:
            note_start(self._setup.output.uri, assignment)
        todo = super()._restyle(group, remaining)
        time.sleep(0.3)
        return todo


def passing_fault() -> ErrorInfo:
    return ErrorInfo(stage="read", type="StorageError", message="throttled", transient=True)


def a_match() -> MatchRow:
    return MatchRow(
        region=0,
        area=1,
        centroid_x=0.5,
        centroid_y=0.5,
        style_id="sky",
        style_region=0,
        semantic=1,
        statistical=1,
        geometric=1,
        similarity=1.375,
        fallback="none",
    )
