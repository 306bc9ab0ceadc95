"""Whole runs on real Ray, with a tiny model through the real loader."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.run import PoolSpec, RestyleSpec, RunSummary
from tasks import planning
from tasks.execution import execute
from tasks.execution.actor import StyleActor
from tasks.execution.pool import Progress
from tasks.planning import Plan
from tasks.records.ledger import read_ledger
from tasks.report import build
from tasks.results import finalize
from tasks.results.explain import explain
from tasks.results.verify import verify
from tests.s3_server import S3Server
from tests.tasks import pictures
from tests.tasks.actors import SlowActor, starts
from tests.tasks.conftest import MakeSpec
from tests.tasks.execution.test_pool import alive
from tests.tasks.items.test_item import GOOD
from tests.tasks.places import at

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]


def run(
    spec: RestyleSpec, actor: type[StyleActor] = StyleActor
) -> tuple[Plan, RunSummary, list[Progress]]:
    plan = planning.make_plan(spec)
    planning.write_plan(plan)
    heard: list[Progress] = []
    execute.execute(plan, heard.append, actor=actor)
    summary = finalize.finalize(spec, plan.run_id, plan)
    proof = verify(spec.output, plan.run_id)
    assert proof.ok, proof.problems
    return plan, summary, heard


def asset_hashes(folder: str) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder, "assets").rglob("*.png")
    }


BLANK = (
    "reference 'sky' of gallery 'rocket' is fully transparent, so it has hardly any style to "
    "give; replace it unless that is meant"
)


def with_blank(spec: RestyleSpec) -> RestyleSpec:
    """Make the reference of the gallery `rocket` a blank one."""
    sky = Path(spec.galleries[0]).parent / "s2.png"
    pictures.save(sky, np.zeros((80, 80, 4), np.uint8))
    return spec


def test_first_run_same_again_elsewhere_and_a_larger_catalog(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = with_blank(make_spec(products=2))
    plan, summary, heard = run(spec)
    assert (summary.ok, summary.rejected, summary.failed, summary.reused) == (4, 0, 0, 0)
    assert (summary.warned, summary.warnings) == (2, [BLANK])
    assert (heard[-1].done, heard[-1].total, heard[-1].ok) == (4, 4, 4)
    home = Path(spec.output) / "runs" / plan.run_id
    results = pq.read_table(home / "results").to_pylist()
    for row in results:
        assert row["warnings"] == ([BLANK] if row["gallery_id"] == "rocket" else [])
    matches = pq.read_table(home / "matches")
    assert matches.num_rows == sum(len(row["matches"]) for row in results) >= 4
    record = json.loads((home / "run.json").read_text())
    assert record["state"] == "finished"
    assert record["summary"]["ok"] == 4
    assert not (home / "retry.parquet").exists()
    assert not list(Path(spec.output).rglob("*.tmp"))

    tables = {path: path.read_bytes() for path in home.rglob("part-*.parquet")}
    again, summary, heard = run(spec)
    assert again.run_id == plan.run_id
    assert (again.counts.todo, summary.ok, len(heard)) == (0, 4, 1)
    assert (summary.warned, summary.warnings) == (2, [BLANK])  # from the tables of the first
    assert tables == {path: path.read_bytes() for path in home.rglob("part-*.parquet")}

    pool = PoolSpec(actors=2, cpus_per_actor=1, chunk_size=1)
    elsewhere = spec.model_copy(update={"output": str(tmp_path / "two"), "pool": pool})
    other, _, _ = run(elsewhere)
    assert other.run_id == plan.run_id
    assert asset_hashes(elsewhere.output) == asset_hashes(spec.output)
    assert len(asset_hashes(spec.output)) == 4

    larger, summary, _ = run(with_blank(make_spec(products=3)))
    assert larger.run_id != plan.run_id
    assert (larger.counts.done, larger.counts.todo) == (4, 2)
    assert (summary.ok, summary.reused) == (6, 4)
    rows = (at(spec.output) / "catalog/LATEST.json").read_bytes()
    assert json.loads(rows)["rows"] == 6


def test_a_blank_reference_is_in_the_rows_and_the_summary(make_spec: MakeSpec) -> None:
    spec = make_spec(products=2)
    sky = Path(spec.galleries[0]).parent / "s2.png"
    pictures.save(sky, np.zeros((80, 80, 4), np.uint8))
    warning = (
        "reference 'sky' of gallery 'rocket' is fully transparent, so it has hardly any style to "
        "give; replace it unless that is meant"
    )
    for _ in range(2):  # the second run reads the numbers of the first
        plan, summary, _ = run(spec)
        assert (summary.ok, summary.warned, summary.warnings) == (4, 2, [warning])
        found = pq.read_table(Path(spec.output) / "runs" / plan.run_id / "results").to_pylist()
        assert [row["warnings"] for row in found if row["gallery_id"] == "rocket"] == [
            [warning]
        ] * 2
        assert not any(row["warnings"] for row in found if row["gallery_id"] == "coffee")


def test_another_output_and_pool_give_the_same_bytes(make_spec: MakeSpec, tmp_path: Path) -> None:
    one = make_spec(products=2, output=str(tmp_path / "one"))
    first, _, _ = run(one)
    pool = PoolSpec(actors=2, cpus_per_actor=1, chunk_size=1)
    two = make_spec(products=2, output=str(tmp_path / "two"), pool=pool)
    second, _, _ = run(two)
    assert first.run_id == second.run_id
    assert asset_hashes(one.output) == asset_hashes(two.output)
    assert len(asset_hashes(one.output)) == 4


def test_everything_on_s3(make_spec: MakeSpec, s3_env: S3Server, tmp_path: Path) -> None:
    spec = make_spec(products=2)
    for path in (tmp_path / "in").iterdir():
        at(s3_env.uri(f"in/{path.name}")).write_bytes(path.read_bytes())
    far = spec.model_copy(
        update={
            "catalog": s3_env.uri("in/catalog.parquet"),
            "galleries": [s3_env.uri("in/galleries.parquet")],
            "output": s3_env.uri("out"),
        }
    )
    plan, summary, _ = run(far)
    assert next(iter(plan.items)).image_version.startswith("etag:")
    assert (summary.ok, summary.failed) == (4, 0)
    again, _, _ = run(far)
    assert again.counts.todo == 0
    s3_env.file(f"out/{next(iter(plan.items)).asset_key}").write_bytes(b"spoilt")
    proof = verify(far.output, plan.run_id)
    assert len(proof.problems) == 1
    assert "differs from the file that was written" in proof.problems[0]


BAD = {
    "missing": None,
    "text": b"I am a photo, honest",
    "half": pictures.encoded(pictures.noise(), "PNG")[:500],
    "bomb": pictures.png_bomb(),
}


def test_bad_photos_leave_the_good_ones_alone(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(products=1, only=["rocket"])
    photos = {**GOOD, **BAD}
    for name, data in photos.items():
        if data is not None:
            (tmp_path / "in" / name).write_bytes(data)
    names = ["good", *photos]
    uris = ["p0.png", *photos]
    pq.write_table(pa.table({"product_id": names, "image_uri": uris}), spec.catalog)
    plan, summary, _ = run(spec)
    assert (summary.ok, summary.rejected, summary.failed) == (1 + len(GOOD), len(BAD), 0)
    for row in pq.read_table(plan.files.results.uri).to_pylist():
        assert (row["status"] == "rejected") == (row["product_id"] in BAD)
        assert (row["error"] is not None) == (row["status"] == "rejected")
    again = planning.make_plan(spec)
    assert (again.run_id, again.counts.todo) == (plan.run_id, 0)


def test_a_mended_row_is_all_that_is_done_again(make_spec: MakeSpec) -> None:
    spec = make_spec(products=1, only=["rocket"])
    names = ["AB/12", "AB%2F12", "x"]
    columns = {"product_id": names, "image_uri": ["p0.png", "p0.png", "ftp://x/p0.png"]}
    pq.write_table(pa.table({**columns, "view": ["a\\b", "a\\b", "main"]}), spec.catalog)
    plan, summary, _ = run(spec)
    assert (plan.counts.todo, plan.counts.rejected) == (2, 1)
    assert (summary.ok, summary.rejected, summary.failed) == (2, 1, 0)
    rows = pq.read_table(plan.files.results.uri).to_pylist()
    assert [row["product_id"] for row in rows] == names
    (slashed, plain) = (row["asset_uri"] for row in rows[:2])
    assert slashed.startswith("assets/rocket/AB%2F12/a%5Cb-")
    assert plain != slashed
    page = build.build_report(spec.output, plan.run_id)
    assert "AB/12" in Path(page).read_text()
    assert quote(slashed) in Path(page).read_text()
    assert "column `image_uri`, row 3" in Path(page).read_text()
    (found,) = explain(spec.output, plan.run_id, "AB/12", "a\\b")
    assert found.folder == "rocket/AB%2F12/a%5Cb"

    columns["image_uri"][2] = "p0.png"
    pq.write_table(pa.table({**columns, "view": ["a\\b", "a\\b", "main"]}), spec.catalog)
    again, summary, _ = run(spec)
    assert again.run_id != plan.run_id
    assert (again.counts.done, again.counts.todo, again.counts.rejected) == (2, 1, 0)
    assert (summary.ok, summary.reused, summary.rejected) == (3, 2, 0)


def test_a_killed_driver_resumes_without_doing_anything_twice(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(products=5, pool=PoolSpec(cpus_per_actor=1, chunk_size=3))
    plan = planning.make_plan(spec)
    kill_driver(spec, tmp_path, after=4)
    before = {path: path.stat() for path in Path(spec.output, "assets").rglob("*.png")}
    rows = read_ledger(plan.files)
    assert 3 <= len(before) < 10
    assert not Path(plan.files.success.uri).exists()
    assert json.loads(Path(plan.files.record.uri).read_text())["state"] == "running"
    begun = starts(spec.output)

    resumed, summary, _ = run(spec, SlowActor)
    assert resumed.run_id == plan.run_id
    assert resumed.counts.done == len(rows)
    assert (summary.ok, summary.failed) == (10, 0)
    for path, stat in before.items():
        assert path.stat().st_mtime_ns == stat.st_mtime_ns, f"{path} was computed twice"
    computed = 10 - len(before)
    found = read_ledger(plan.files)
    reused = found.rows(found.in_order())["reused"].to_pylist()
    assert sum(reused) == len(before) - len(rows)
    assert len(starts(spec.output)) - len(begun) == computed + len(before) - len(rows)


def test_two_runs_at_once_share_an_output(make_spec: MakeSpec, tmp_path: Path) -> None:
    pool = PoolSpec(cpus_per_actor=1, chunk_size=1)
    wide = make_spec(products=4, pool=pool)
    (tmp_path / "spec.json").write_text(wide.model_dump_json())
    command = [sys.executable, "-m", "tests.tasks.drive", str(tmp_path / "spec.json"), "SlowActor"]
    other = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    while not starts(wide.output):
        assert other.poll() is None, "the other driver ended by itself"
        time.sleep(0.05)
    narrow, summary, _ = run(wide.model_copy(update={"limit": 4}), SlowActor)
    assert other.wait(timeout=200) == 0
    assert summary.ok == 4
    plan = planning.make_plan(wide)
    assert plan.run_id != narrow.run_id
    assert plan.counts.todo == 0
    finalize.finalize(wide, plan.run_id, plan)
    for run_id in (plan.run_id, narrow.run_id):
        proof = verify(wide.output, run_id)
        assert proof.ok, proof.problems
    rows = pq.read_table(list(Path(wide.output, "catalog").glob("items-*")))["item_id"].to_pylist()
    assert set(rows) == {item.item_id for item in plan.items}


def kill_driver(spec: RestyleSpec, tmp_path: Path, after: int) -> None:
    """Start a run in a process of its own and SIGKILL it once `after` items are behind it."""
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    command = [sys.executable, "-m", "tests.tasks.drive", str(tmp_path / "spec.json"), "SlowActor"]
    driver = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 200
        while len(starts(spec.output)) < after + 1:
            assert driver.poll() is None, "the driver ended by itself"
            assert time.monotonic() < deadline, "the driver does not get going"
            time.sleep(0.05)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    for pid in {pid for _, _, pid in starts(spec.output)}:
        if any(not alive(pid) for _ in range(6)):
            continue
        os.kill(pid, signal.SIGKILL)
        raise AssertionError("the actor outlived its driver")
