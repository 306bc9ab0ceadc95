"""StyleActor in this process, with a tiny model: the order of its events and its threads."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from schemas.engine import EngineSpec
from schemas.result import ItemResult
from stylegallery import StyleGallery
from stylegallery.errors import UnsupportedModel
from stylegallery.types import RestyledImage
from tasks import planning
from tasks.execution import execute
from tasks.execution.actor import StyleActor
from tasks.execution.metrics import CacheMetrics
from tasks.items.context import ActorContext
from tasks.messages import ActorSetup, Assignment, PreparingReferences, Started
from tests.tasks import pictures
from tests.tasks.conftest import PARAMS, MakeSpec
from tests.tasks.places import at
from tests.tasks.single_items import item_of


class Here(StyleActor):
    """The real actor with an engine that is already loaded."""

    def __init__(self, engine: StyleGallery, output: Path, overlap: bool) -> None:
        self._setup = ActorSetup(
            EngineSpec(), PARAMS, at(output), "run", "engine", 0, overlap=overlap
        )
        self._context = ActorContext(engine, at(output), PARAMS)
        self._cache_metrics = CacheMetrics()


def test_overlap_decodes_in_threads(
    engine: StyleGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines on several cores do without: see `tasks.messages.ActorSetup`."""
    plain, threads = StyleGallery.decode, list[threading.Thread]()

    def noted(*arguments: Any) -> RestyledImage:
        threads.append(threading.current_thread())
        return plain(*arguments)

    monkeypatch.setattr(StyleGallery, "decode", noted)
    photo = pictures.encoded(pictures.noise(), "PNG")
    items = [item_of(tmp_path, photo, seed=k, item_id=f"{k:064x}") for k in range(4)]
    made = {}
    for overlap in (False, True):
        events = list(
            Here(engine, tmp_path / str(overlap), overlap).run(list(map(Assignment, items)))
        )
        rows = [event for event in events if isinstance(event, ItemResult)]
        assert [row.item_id for row in rows] == [item.item_id for item in items]
        assert all(row.status == "ok" for row in rows)
        assert {"stylize", "decode", "encode", "write"} <= rows[0].timings.keys()
        if not overlap:  # with overlap, results come when they are ready
            begun = events.pop(0)
            # announced once: all items share their references
            assert isinstance(begun, Started)
            assert isinstance(events[0], PreparingReferences)
            assert [isinstance(event, ItemResult) for event in events[1:]] == [True, False] * 3 + [
                True
            ]
        made[overlap] = [row.asset_sha256 for row in rows]
    here = threading.main_thread()
    assert [thread is here for thread in threads] == [True] * 4 + [False] * 4
    assert made[True] == made[False]
    assert len(set(made[True])) == 4


def test_an_assignment_marked_alone_is_processed_alone(
    engine: StyleGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier items are written before it starts, and it is written before the next starts."""
    plain = StyleGallery.decode

    def slow(*arguments: Any) -> RestyledImage:
        time.sleep(0.5)
        return plain(*arguments)

    monkeypatch.setattr(StyleGallery, "decode", slow)
    photo = pictures.encoded(pictures.noise(), "PNG")
    items = [item_of(tmp_path, photo, seed=k, item_id=f"{k:064x}") for k in range(4)]
    chunk = [Assignment(item, alone=place == 2) for place, item in enumerate(items)]
    events = Here(engine, tmp_path / "out", overlap=True).run(chunk)
    news = (event for event in events if not isinstance(event, PreparingReferences))
    begun = [isinstance(event, Started) for event in news]
    assert begun == [True, True, False, False, True, False, True, False]


def test_the_log_holds_the_seconds_of_an_item(
    engine: StyleGallery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tasks.execution.actor")
    item = item_of(tmp_path, pictures.encoded(pictures.noise(), "PNG"))
    *_, row = Here(engine, tmp_path / "out", overlap=False).run([Assignment(item)])
    assert isinstance(row, ItemResult)
    (said,) = (record for record in caplog.records if record.name == "tasks.execution.actor")
    assert vars(said)["seconds"] == row.timings["total"] > 0


@pytest.mark.parametrize(
    ("device", "threads", "overlap"), [("cuda", 8, True), ("cpu", 1, True), ("cpu", 2, False)]
)
def test_engines_on_several_cores_do_not_overlap(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, device: str, threads: int, overlap: bool
) -> None:
    monkeypatch.setattr(execute, "device_class", lambda spec: device)
    assert execute.actor_setup(planning.make_plan(make_spec()), threads).overlap == overlap


def test_an_actor_refuses_text_that_its_model_does_not_take(
    tiny_model: Path, tmp_path: Path
) -> None:
    engine = EngineSpec(model=str(tiny_model), device="cpu")
    params = PARAMS.model_copy(update={"prompt": "red wool"})
    setup = ActorSetup(engine, params, at(tmp_path / "out"), "run", "engine", 0)
    with pytest.raises(UnsupportedModel, match="takes no text"):
        StyleActor(setup)
