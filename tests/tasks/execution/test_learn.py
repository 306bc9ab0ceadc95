"""The stage `learn` on real Ray: each style once, failures as rows, and resume after a death."""

import hashlib
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from schemas.engine import EngineSpec
from schemas.flows import PrepareSpec
from schemas.run import PoolSpec, RestyleSpec, RunSummary
from schemas.work import StyleSource
from stylegallery import StyleGallery
from stylegallery.images import codec
from tasks import planning
from tasks.cluster import descendants, parallel
from tasks.cluster.session import Layout
from tasks.errors import StorageError
from tasks.execution import execute, learn, prepare_gallery
from tasks.execution.progress import Progress
from tasks.messages import ActorSetup
from tasks.planning import Plan
from tasks.planning.learning import AdapterSource
from tasks.records.learnt_files import LearningFailure, read_failure
from tasks.results import finalize
from tasks.results.verify import verify
from tests.tasks.conftest import MakeSpec
from tests.tasks.galleries import LEARNING, in_this_process, write_learnable
from tests.tasks.places import at

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]

STYLE = StyleSource(style_id="s", image_uri="s.png", image_version="v")
SHARED = {"one": ["cup", "table"], "other": ["sky", "table"], "same": ["table", "cup"]}


@pytest.fixture
def make(make_spec: MakeSpec, tmp_path: Path) -> Callable[..., RestyleSpec]:
    """Return a function that makes specs of a method that learns, on two actors."""

    def spec(products: int, **galleries: Sequence[str]) -> RestyleSpec:
        pool = PoolSpec(actors=2, cpus_per_actor=1, chunk_size=1)
        made = make_spec(products=products, params=LEARNING, pool=pool)
        write_learnable(tmp_path / "in", galleries)
        return made

    return spec


def rest_of(plan: Plan) -> tuple[RunSummary, list[dict[str, Any]]]:
    """Execute and close a plan, verify the run, and return its summary and rows."""
    planning.write_plan(plan)
    execute.execute(plan)
    summary = finalize.finalize(plan.spec, plan.run_id, plan)
    proof = verify(plan.spec.output, plan.run_id)
    assert proof.ok, proof.problems
    return summary, pq.read_table(plan.files.results.uri).to_pylist()


def learnt(spec: RestyleSpec) -> tuple[Plan, list[Progress]]:
    plan = planning.make_plan(spec)
    heard: list[Progress] = []
    learn.learn(plan, heard.append)
    return plan, heard


def stored(spec: RestyleSpec) -> dict[str, bytes]:
    """Return the stored styles by path."""
    files = Path(spec.output, "prepared").glob("*.adapter.safetensors")
    return {str(path): path.read_bytes() for path in files}


def test_each_style_is_learnt_once_for_all_galleries_and_runs(
    make: Callable[..., RestyleSpec], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tasks.execution.learn")
    spec = make(1, **SHARED, flat=["flat", "cup"])
    plan, heard = learnt(spec)
    assert plan.counts.to_learn == 3
    assert [now.learnt() for now in heard if now.phase == "learning"] == [
        f"learning {done} of 3" for done in range(4)
    ]
    said = sorted(line.partition(": ")[2] for line in caplog.messages)
    assert said[:2] == ["learnt", "learnt"]
    assert said[2].startswith("reference 'flat' of gallery 'flat' is of one tone")
    styles = stored(spec)
    assert len(styles) == 2

    # The driver dies here; another one resumes.
    plan, heard = learnt(spec)
    assert (plan.counts.to_learn, heard) == (0, [])
    summary, rows = rest_of(plan)
    assert (summary.ok, summary.rejected, summary.failed) == (3, 1, 0)
    by_gallery = {row["gallery_id"]: row for row in rows}
    error = by_gallery["flat"]["error"]
    assert (by_gallery["flat"]["status"], error["stage"]) == ("rejected", "learn")
    assert error["message"].startswith("reference 'flat' of gallery 'flat' is of one tone")
    digests = {hashlib.sha256(data).hexdigest() for data in styles.values()}
    named = set()
    for name in SHARED:
        asset = Path(spec.output, by_gallery[name]["asset_uri"]).read_bytes()
        (style,) = json.loads(codec.read_note(asset))["adapters"]
        assert sorted(style["styles"]) == sorted(SHARED[name])
        named.add(style["sha256"])
        assert "learn" in dict(by_gallery[name]["timings"])
    assert named == digests

    # More products: nothing is learnt, and both items of the flat gallery are rejected.
    plan, heard = learnt(make(2, **SHARED, flat=["flat", "cup"]))
    assert (plan.counts.to_learn, plan.counts.todo, heard) == (0, 5, [])
    # Deleted files are learnt again to the bit; damaged ones by the actor that finds them.
    lost, broken = sorted(styles)
    Path(lost).unlink()
    Path(broken).write_bytes(styles[broken][:-9])
    plan, heard = learnt(spec := make(2, **SHARED, flat=["flat", "cup"]))
    assert (plan.counts.to_learn, heard[-1].learnt()) == (1, "learning 1 of 1")
    assert stored(spec)[lost] == styles[lost]
    summary, rows = rest_of(plan)
    assert (summary.ok, summary.rejected, summary.reused) == (6, 2, 3)
    assert stored(spec) == styles


def test_a_dead_process_leaves_a_marker_and_an_unavailable_store_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items then meet the store themselves, with their own attempts."""
    outcomes = [(1, StorageError("throttled", transient=True)), (0, ValueError("it died")), (2, "")]
    monkeypatch.setattr(parallel, "map_unordered", lambda *_, **__: iter(outcomes))
    setup = ActorSetup(EngineSpec(), LEARNING, at(tmp_path), "run-1", "", 1)
    sources = [AdapterSource(key, "g", (STYLE,)) for key in "abc"]
    ended = learn.learn_adapters(sources, setup, Layout(1, 1, 0))
    assert [(source.key, why) for source, why in ended] == [
        ("b", "throttled"),
        ("a", "it died"),
        ("c", ""),
    ]
    assert read_failure(setup.output, "a") == LearningFailure(
        kind="failed", reason="it died", run_id="run-1"
    )
    assert [path.name for path in tmp_path.rglob("*.json")] == ["a.adapter.json"]


def test_an_error_while_learning_fails_its_gallery_until_the_next_run(
    make: Callable[..., RestyleSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make(2, one=["cup", "table"], other=["sky"])
    spec = spec.model_copy(update={"pool": PoolSpec(cpus_per_actor=1)})
    real = StyleGallery.learn

    def moody(engine: StyleGallery, pictures: Sequence[Any], *more: Any, **names: Any) -> Any:
        if len(pictures) == 2:
            raise ValueError(f"no mood for {names['names'][0]}")
        return real(engine, list(pictures), *more, **names)

    monkeypatch.setattr(parallel, "map_unordered", in_this_process)
    with monkeypatch.context() as patch:
        patch.setattr(StyleGallery, "learn", moody)
        plan, _ = learnt(spec)
    summary, rows = rest_of(plan)
    assert (summary.ok, summary.rejected, summary.failed) == (2, 0, 2)
    for row in rows:
        if row["gallery_id"] == "one":
            assert (row["status"], row["attempts"]) == ("failed", 1)
            assert (row["error"]["stage"], row["error"]["type"]) == ("learn", "LearningError")
            assert re.fullmatch(
                "the style of one was not learnt: no mood for reference '(cup|table)' of gallery "
                "'one'; run the same command again to try again",
                row["error"]["message"],
            )
    plan, _ = learnt(spec)
    assert (plan.counts.to_learn, plan.counts.todo) == (1, 2)
    summary, _ = rest_of(plan)
    assert (summary.ok, summary.failed) == (4, 0)
    assert not list(Path(spec.output, "prepared").glob("*.adapter.json"))


def test_galleries_are_learnt_beforehand(
    make: Callable[..., RestyleSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make(1, one=["cup", "table"], flat=["flat"], lost=["sky", "cup"])
    Path(spec.galleries[0]).with_name("sky.png").write_text("no image")
    shared = {"galleries", "output", "params", "engine", "pool"}
    early = PrepareSpec(**{name: getattr(spec, name) for name in shared})
    monkeypatch.setattr(parallel, "map_unordered", in_this_process)
    monkeypatch.setattr(prepare_gallery, "map_unordered", in_this_process)
    counts: list[tuple[int, int]] = []
    for _ in range(2):
        problems = prepare_gallery.prepare_galleries(early, lambda *now: counts.append(now))
        assert counts == [(done, 8) for done in range(1, 9)]
        counts.clear()
        assert list(problems) == ["flat/flat", "lost/sky"]
        assert "is of one tone" in problems["flat/flat"]
        assert "cannot be used" in problems["lost/sky"]
        assert len(stored(spec)) == 1
    plan = planning.make_plan(spec)
    assert [source.gallery_id for source in plan.to_learn] == ["lost"]


def test_a_worker_that_dies_while_learning_is_replaced(make: Callable[..., RestyleSpec]) -> None:
    spec = make(1, one=["cup"])
    slow = LEARNING.model_copy(update={"adapter_steps": 60})
    spec = spec.model_copy(update={"params": slow})
    killed: list[int] = []

    def kill_once() -> None:
        end = time.monotonic() + 60
        while not killed and time.monotonic() < end:
            for pid in descendants._below(descendants.child_pids()):
                with suppress(OSError):  # it has just exited
                    if Path(f"/proc/{pid}/comm").read_text().startswith("ray::_learn"):
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_once)
    killer.start()
    _, heard = learnt(spec)
    killer.join()
    assert len(killed) == 1
    assert heard[-1].learnt() == "learning 1 of 1"
    assert len(stored(spec)) == 1
