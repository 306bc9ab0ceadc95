"""An actor in this process, on the real engine with a tiny model: who does what, and when."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from schemas.engine import EngineSpec
from schemas.result import ItemResult
from stylegallery import StyleGallery
from stylegallery.types import RestyledImage
from tasks import planning
from tasks.execution import execute
from tasks.execution.actor import StyleActor
from tasks.execution.metrics import Finds
from tasks.items.context import Bench
from tasks.messages import ActorSetup, Assignment, PreparingReferences, Started
from tests.tasks import pictures
from tests.tasks.conftest import PARAMS, MakeSpec
from tests.tasks.single_items import item_of


class Here(StyleActor):
    """The real actor on an engine that is loaded already."""

    def __init__(self, engine: StyleGallery, output: Path, overlap: bool) -> None:
        self._setup = ActorSetup(
            EngineSpec(), PARAMS, str(output), "run", "engine", 0, overlap=overlap
        )
        self._bench = Bench(engine, str(output), PARAMS)
        self._finds = Finds()


def test_pictures_are_decoded_beside_the_engine_where_the_setup_says_so(
    engine: StyleGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on several cores: see `tasks.messages.ActorSetup`."""
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
        if not overlap:  # where it does, a row comes when it is ready
            begun = events.pop(0)
            # said once: the references of the first item are those of all
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


def test_a_suspect_has_the_actor_to_itself(
    engine: StyleGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before it are written by then, and it is written before the next begins."""
    plain = StyleGallery.decode

    def slow(*arguments: Any) -> RestyledImage:
        time.sleep(0.5)
        return plain(*arguments)

    monkeypatch.setattr(StyleGallery, "decode", slow)
    photo = pictures.encoded(pictures.noise(), "PNG")
    items = [item_of(tmp_path, photo, seed=k, item_id=f"{k:064x}") for k in range(4)]
    lease = [Assignment(item, alone=place == 2) for place, item in enumerate(items)]
    events = Here(engine, tmp_path / "out", overlap=True).run(lease)
    news = (event for event in events if not isinstance(event, PreparingReferences))
    begun = [isinstance(event, Started) for event in news]
    assert begun == [True, True, False, False, True, False, True, False]


def test_the_log_says_how_long_an_item_took(
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
def test_no_thread_computes_beside_an_engine_on_several_cores(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, device: str, threads: int, overlap: bool
) -> None:
    monkeypatch.setattr(execute, "device_class", lambda spec: device)
    assert execute._setup(planning.make_plan(make_spec()), threads).overlap == overlap
