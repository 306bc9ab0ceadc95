"""Outputs of before: a run that another version began is the same run, and is finished.

`output_of_before.zip` holds inputs and a closed output of version 0.1.0 before its ledger was put
together, its tables were numbered and its settings were renamed. Items were made by LightActor.
"""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from schemas.engine import EngineSpec
from schemas.run import RestyleSpec
from tasks import planning
from tasks.messages import ActorSetup, Assignment
from tasks.records.newest_run import find_run
from tasks.results.verify import verify
from tests.tasks.actors import LightActor
from tests.tasks.conftest import PARAMS
from tests.tasks.test_crash import Doer, drive

RUN_ID = "run-8ac7062eee1a"
ITEMS = {
    ("p0", "coffee"): "88217a31f9b8",
    ("p1", "coffee"): "692b4a346b1b",
    ("p0", "rocket"): "336e453d1e9c",
    ("p1", "rocket"): "b813243e9c42",
}
"""First digits of the item ids that the old version gave."""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RestyleSpec:
    with zipfile.ZipFile(Path(__file__).with_name("output_of_before.zip")) as old:
        old.extractall(tmp_path)
    # Of the model's weights and of torch's version, which are not what is tested.
    monkeypatch.setattr("tasks.planning.plan.engine_fingerprint", lambda *_: "engine-of-the-test")
    return RestyleSpec(
        catalog=str(tmp_path / "in/catalog.parquet"),
        galleries=[str(tmp_path / "in/galleries.parquet")],
        output=str(tmp_path / "out"),
        params=PARAMS,
        engine=EngineSpec(model="embedded"),
    )


def counting(done: list[str]) -> "type[LightActor]":
    class Counting(LightActor):
        def do(self, assignment: Assignment) -> object:
            done.append(assignment.item.item_id[:12])
            return super().do(assignment)

    return Counting


def finish(spec: RestyleSpec) -> list[str]:
    """Run again; return the items that were made."""
    done: list[str] = []

    def doer(setup: ActorSetup) -> Doer:
        return counting(done)(setup).do

    drive(spec, doer)
    return done


def test_a_closed_run_is_the_same_and_stays_closed(spec: RestyleSpec) -> None:
    plan = planning.make_plan(spec)
    ids = {(item.product_id, item.gallery_id): item.item_id[:12] for item in plan.items}
    assert (plan.run_id, ids) == (RUN_ID, ITEMS)
    assert verify(spec.output, RUN_ID).ok
    assert find_run(spec.output, "latest") == RUN_ID
    assert finish(spec) == []
    found = verify(spec.output, RUN_ID)
    assert found.ok, found.problems


def test_an_open_run_is_finished(spec: RestyleSpec) -> None:
    """As its driver left it: two rows in the ledger, assets of a third, no tables."""
    out = Path(spec.output)
    run = out / "runs" / RUN_ID
    for part in sorted((run / "ledger").iterdir())[2:]:
        part.unlink()
    for gone in ("_SUCCESS", "results", "matches"):
        place = run / gone
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    shutil.rmtree(out / "catalog")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "state": "running", "summary": None}))
    done = finish(spec)
    assert sorted(done) == sorted([ITEMS["p0", "rocket"], ITEMS["p1", "rocket"]])
    found = verify(spec.output, RUN_ID)
    assert found.ok, found.problems


def test_rows_of_before_are_reused_by_a_new_run(spec: RestyleSpec) -> None:
    narrow = spec.model_copy(update={"gallery_ids": ["coffee"]})
    plan = planning.make_plan(narrow)
    assert plan.run_id != RUN_ID
    assert (plan.counts.done, plan.counts.todo) == (2, 0)
