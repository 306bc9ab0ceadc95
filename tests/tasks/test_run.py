"""Whole runs on real Ray with a tiny model through the real loader."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from schemas.run import PoolSpec, RestyleSpec, RunSummary
from tasks import execute, finalize, ledger, planning, storage
from tasks.pool import Progress
from tasks.verify import verify
from tests.s3_server import S3Server
from tests.tasks.conftest import MakeSpec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]


def run(spec: RestyleSpec) -> tuple[planning.Plan, RunSummary, list[Progress]]:
    plan = planning.plan(spec)
    planning.write_plan(plan)
    heard: list[Progress] = []
    execute.execute(plan, heard.append)
    return plan, finalize.finalize(spec, plan.run_id, plan), heard


def asset_hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "assets").rglob("*.png")
    }


def test_a_run_leaves_what_it_promises(make_spec: MakeSpec) -> None:
    spec = make_spec(products=3)
    plan, summary, heard = run(spec)
    assert (summary.ok, summary.rejected, summary.failed, summary.reused) == (6, 0, 0, 0)
    assert (heard[-1].done, heard[-1].total, heard[-1].ok) == (6, 6, 6)
    found = verify(spec.output, plan.run_id)
    assert found.ok, found.problems
    assert found.counts["assets"] == 6
    home = Path(spec.output) / "runs" / plan.run_id
    results = pq.read_table(home / "results").to_pylist()
    assert len(results) == 6
    matches = pq.read_table(home / "matches")
    assert matches.num_rows == sum(len(row["matches"]) for row in results)
    record = json.loads((home / "run.json").read_text())
    assert record["state"] == "finished"
    assert record["summary"]["ok"] == 6
    assert not (home / "retry.parquet").exists()
    assert not list(Path(spec.output).rglob("*.tmp"))


def test_the_same_command_again_computes_nothing(make_spec: MakeSpec) -> None:
    spec = make_spec(products=2)
    first, _, _ = run(spec)
    again, summary, heard = run(spec)
    assert again.run_id == first.run_id
    assert (again.counts.todo, summary.ok, len(heard)) == (0, 4, 1)
    assert verify(spec.output, again.run_id).ok


def test_a_larger_catalog_takes_over_what_did_not_change(make_spec: MakeSpec) -> None:
    first, _, _ = run(make_spec(products=2))
    spec = make_spec(products=3)
    second, summary, _ = run(spec)
    assert second.run_id != first.run_id
    assert (second.counts.done, second.counts.todo) == (4, 2)
    assert (summary.ok, summary.reused) == (6, 4)
    found = verify(spec.output, second.run_id)
    assert found.ok, found.problems


def test_two_outputs_hold_the_same_bytes(make_spec: MakeSpec, tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    first, _, _ = run(make_spec(output=one))
    second, _, _ = run(make_spec(output=two, pool=PoolSpec(actors=2, cpus_per_actor=1, lease=1)))
    assert first.run_id == second.run_id
    assert asset_hashes(Path(one)) == asset_hashes(Path(two))
    assert len(asset_hashes(Path(one))) == 6


def test_a_lost_asset_is_made_again(make_spec: MakeSpec) -> None:
    spec = make_spec(products=2)
    plan, _, _ = run(spec)
    lost = Path(spec.output) / plan.items[0].asset_key
    before = lost.read_bytes()
    lost.unlink()
    again, summary, _ = run(spec)
    assert (again.counts.todo, summary.ok) == (1, 4)
    assert lost.read_bytes() == before


def test_an_asset_without_a_row_is_taken_over(make_spec: MakeSpec) -> None:
    spec = make_spec(products=2)
    plan, _, _ = run(spec)
    for name in storage.list_names(plan.files.ledger):
        storage.delete(storage.join(plan.files.ledger, name))
    storage.delete(storage.join(spec.output, "catalog/LATEST.json"))
    spoilt, other = plan.items[0], plan.items[1]
    (Path(spec.output) / spoilt.asset_key).write_bytes(b"\x89PNG half a picture")
    again, summary, _ = run(spec)
    assert len(again.standing) == again.counts.todo == 4
    assert (summary.ok, summary.reused) == (4, 3)
    rows = ledger.read_ledger(spec.output, plan.run_id)
    computed = {key.product_id for key, row in rows.items() if not row.reused}
    assert computed == {spoilt.product_id}
    assert rows[planning.key_of(other)].matches
    assert verify(spec.output, plan.run_id).ok


def test_the_same_photo_twice_is_two_items(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(products=2)
    (tmp_path / "in" / "p1.png").write_bytes((tmp_path / "in" / "p0.png").read_bytes())
    plan, summary, _ = run(spec)
    assert len({item.item_id for item in plan.items}) == 2
    assert summary.ok == 4
    assert verify(spec.output, plan.run_id).counts["assets"] == 4


def test_everything_on_s3(make_spec: MakeSpec, s3_env: S3Server, tmp_path: Path) -> None:
    spec = make_spec(products=2)
    for path in (tmp_path / "in").iterdir():
        storage.write_bytes(s3_env.uri(f"in/{path.name}"), path.read_bytes())
    far = spec.model_copy(
        update={
            "catalog": s3_env.uri("in/catalog.parquet"),
            "galleries": [s3_env.uri("in/galleries.parquet")],
            "output": s3_env.uri("out"),
        }
    )
    plan, summary, _ = run(far)
    assert plan.items[0].image_version.startswith("etag:")
    assert (summary.ok, summary.failed) == (4, 0)
    found = verify(far.output, plan.run_id)
    assert found.ok, found.problems
    again, _, _ = run(far)
    assert again.counts.todo == 0
