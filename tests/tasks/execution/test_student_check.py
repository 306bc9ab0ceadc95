"""Learnt styles are compared on a few photos; a run warns or fails the gallery."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import schemas.students
from schemas.run import PoolSpec, RestyleSpec
from tasks import planning
from tasks.cluster import parallel
from tasks.execution import execute, learn, student_check
from tasks.execution.progress import Progress
from tasks.planning import Plan
from tasks.report import build
from tasks.results import finalize
from tests.tasks.conftest import MakeSpec
from tests.tasks.galleries import LEARNING, in_this_process, write_learnable

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]


@pytest.fixture
def make(make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeSpec:
    monkeypatch.setattr(parallel, "map_unordered", in_this_process)

    def spec(**changes: Any) -> RestyleSpec:
        pool = PoolSpec(cpus_per_actor=1)
        made = make_spec(params=LEARNING, pool=pool, **changes)
        write_learnable(tmp_path / "in", {"one": ["cup", "table"], "flat": ["flat"]})
        return made

    return spec


def learnt(spec: RestyleSpec) -> tuple[Plan, list[Progress]]:
    plan, heard = planning.make_plan(spec), list[Progress]()
    planning.write_plan(plan)
    learn.learn(plan, heard.append)
    return plan, heard


def test_a_few_photos_by_hash_are_compared_once(
    make: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student_check, "_PHOTOS", 2)
    plan, heard = learnt(make(products=4, student_check="warn"))
    rows = pq.read_table(plan.files.students.uri).to_pylist()
    versions = {item.product_id: item.image_version for item in plan.items}
    by_hash = sorted(versions, key=lambda p: hashlib.sha256(versions[p].encode()).digest())
    assert [(row["gallery_id"], row["product_id"]) for row in rows] == [
        ("one", product) for product in sorted(by_hash[:2])
    ]
    assert all(0 < row["teacher_ssim"] != row["student_ssim"] > 0 for row in rows)
    assert [now.done for now in heard if now.phase == "comparing learnt styles"] == [0, 1, 2]
    assert not list(Path(plan.spec.output).rglob("assets/**/*.png"))
    assert student_check.galleries_to_check(plan).keys() == {"flat"}  # it has no row
    unchecked = plan.spec.model_copy(update={"student_check": "off"})
    assert planning.make_plan(unchecked).run_id == plan.run_id


@pytest.mark.parametrize(("check", "counts"), [("warn", (1, 1, 0)), ("strict", (0, 1, 1))])
def test_a_style_that_is_behind_warns_or_fails_its_gallery(
    make: MakeSpec, monkeypatch: pytest.MonkeyPatch, check: str, counts: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(schemas.students, "_EDGES", 1.1)
    plan, _ = learnt(make(products=1, student_check=check))
    execute.execute(plan)
    summary = finalize.finalize(plan.spec, plan.run_id, plan)
    assert (summary.ok, summary.rejected, summary.failed) == counts
    (warning,) = (text for text in summary.warnings if "is behind" in text)
    assert warning.startswith("the learnt style of gallery 'one' is behind method stylegallery")
    rows = pq.read_table(plan.files.results.uri).to_pylist()
    (row,) = (row for row in rows if row["gallery_id"] == "one")
    if check == "strict":
        assert (row["error"]["stage"], row["error"]["message"]) == ("learn", warning)
    page = Path(build.build_report(plan.spec.output, plan.run_id)).read_text()
    assert "Learnt styles" in page
    assert "is behind method stylegallery" in page
