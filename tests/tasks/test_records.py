"""Ledger, results, the table of finished items, and the check of a run: no Ray, no engine."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.result import ErrorInfo, ItemResult
from tasks import finalize, planning, storage, tables
from tasks.catalog_table import read_finished
from tasks.errors import FileMissing, IncompleteRunError, RecordError
from tasks.keys import key_of, winners
from tasks.ledger import Ledger, read_ledger
from tasks.planning import Plan
from tasks.verify import verify
from tests.tasks.actors import LightActor, a_match, passing_fault
from tests.tasks.conftest import MakeSpec
from tests.tasks.test_pool import ONE

from tasks.lease import ActorSetup, Assignment  # isort: skip


def row(status: str = "ok", product: str = "p", attempts: int = 1) -> ItemResult:
    error = None if status == "ok" else passing_fault()
    return ItemResult.model_validate(
        {
            "item_id": "ab",
            "product_id": product,
            "view": "main",
            "gallery_id": "g",
            "status": status,
            "attempts": attempts,
            "run_id": "run-1",
            "matches": [a_match()] * 2 if status == "ok" else [],
            "style_regions": {"sky": "regions/x.png"},
            "timings": {"total": 1.5},
            "extra": {"season": "ss26"},
            "error": error,
        }
    )


def test_rows_come_back_from_the_ledger(tmp_path: Path) -> None:
    output = str(tmp_path)
    assert read_ledger(output, "run-1") == {}
    ledger = Ledger(output, "run-1")
    rows = [row(product=f"p{i}") for i in range(70)]
    for one in rows:
        ledger.append(one)
    assert len(read_ledger(output, "run-1")) == 64
    ledger.commit()
    ledger.commit()
    assert list(read_ledger(output, "run-1").values()) == rows
    parts = sorted((tmp_path / "runs/run-1/ledger").iterdir())
    assert len(parts) == 2
    for batch in pq.ParquetFile(parts[0]).iter_batches(10):
        assert batch.column("matches")[0].as_py()[0]["style_id"] == "sky"


def test_rows_wait_only_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 2)
    monkeypatch.setattr("tasks.ledger.time.monotonic", lambda: next(clock))
    ledger = Ledger(str(tmp_path), "run-1")
    ledger.append(row())
    assert read_ledger(str(tmp_path), "run-1") == {}
    ledger.commit_if_due()
    assert len(read_ledger(str(tmp_path), "run-1")) == 1


def test_an_ok_row_wins_in_any_order() -> None:
    rows = [row("failed"), row("ok"), row("failed", attempts=2), row("rejected")]
    for order in itertools.permutations(rows):
        (winner,) = winners(order).values()
        assert winner.status == "ok"
    (latest,) = winners([row("failed"), row("failed", attempts=2)]).values()
    assert latest.attempts == 2


def test_later_drivers_come_later(tmp_path: Path) -> None:
    for attempts in (1, 2, 3):
        ledger = Ledger(str(tmp_path), "run-1")
        ledger.append(row("failed", attempts=attempts))
        ledger.commit()
    (winner,) = read_ledger(str(tmp_path), "run-1").values()
    assert winner.attempts == 3


def test_a_spoilt_or_foreign_part_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs/run-1/ledger"
    tables.write_rows(str(folder / "part-1.parquet"), [row()], ItemResult)
    good = (folder / "part-1.parquet").read_bytes()
    (folder / "notes.txt").write_text("mine")
    assert len(read_ledger(str(tmp_path), "run-1")) == 1
    (folder / "part-2.parquet").write_bytes(good[:-20])
    with pytest.raises(RecordError, match=r"part-2.parquet is damaged"):
        read_ledger(str(tmp_path), "run-1")
    pq.write_table(pa.table({"x": [1]}), folder / "part-2.parquet")
    with pytest.raises(RecordError, match=r"part-2.parquet lacks the columns .*item_id"):
        read_ledger(str(tmp_path), "run-1")
    (folder / "part-2.parquet").unlink()
    (tmp_path / "runs/run-2").mkdir()
    folder.rename(tmp_path / "runs/run-2/ledger")
    with pytest.raises(RecordError, match="belongs to run run-1, not to run-2"):
        read_ledger(str(tmp_path), "run-2")


@pytest.fixture
def done(make_spec: MakeSpec) -> Callable[..., Plan]:
    """Return a doer of runs without Ray: rows as a light actor gives them, some failed."""

    def do(products: int = 3, failing: tuple[str, ...] = (), skip: int = 0) -> Plan:
        plan = planning.plan(make_spec(products=products, pool=ONE))
        planning.write_plan(plan)
        setup = ActorSetup(plan.spec.engine, plan.spec.params, plan.spec.output, plan.run_id, "", 1)
        actor, ledger = LightActor(setup), Ledger(plan.spec.output, plan.run_id)
        todo = [item for item in plan.items if key_of(item) not in plan.done]
        for item in todo[skip:]:
            found = actor.do(Assignment(item))
            if item.product_id in failing:
                error = ErrorInfo(stage="write", type="OSError", message="the disk is full")
                found = found.model_copy(update={"status": "failed", "error": error, "matches": []})
            ledger.append(found)
        ledger.commit()
        return plan

    return do


def test_a_run_with_gaps_is_not_closed(done: Callable[..., Plan]) -> None:
    plan = done(skip=1)
    with pytest.raises(IncompleteRunError, match="1 of 6 items have no result yet"):
        finalize.finalize(plan.spec, plan.run_id, plan)
    assert not Path(plan.files.success).exists()
    finalize.close_record(plan, "cancelled", message="the user stopped it")
    record = json.loads(Path(plan.files.record).read_text())
    assert (record["state"], record["message"]) == ("cancelled", "the user stopped it")


def test_failed_rows_become_the_next_manifest(done: Callable[..., Plan]) -> None:
    plan = done(failing=("p1",))
    summary = finalize.finalize(plan.spec, plan.run_id, plan)
    assert (summary.ok, summary.failed) == (4, 2)
    (photo,) = pq.read_table(plan.files.retry).to_pylist()
    assert (photo["product_id"], photo["galleries"], photo["seed"]) == (
        "p1",
        ["coffee", "rocket"],
        None,
    )
    spec = plan.spec.model_copy(update={"catalog": plan.files.retry})
    retry = planning.plan(spec)
    wanted = {item.item_id for item in plan.items if item.product_id == "p1"}
    assert {item.item_id for item in retry.items} == wanted

    again = done()
    assert (again.run_id, again.counts.todo) == (plan.run_id, 2)
    assert not Path(plan.files.success).exists()
    summary = finalize.finalize(again.spec, again.run_id, again)
    assert (summary.ok, summary.failed) == (6, 0)
    assert not Path(plan.files.retry).exists()


def test_finished_items_gather_over_runs(done: Callable[..., Plan]) -> None:
    first = done(products=2)
    finalize.finalize(first.spec, first.run_id, first)
    second = done(products=3)
    assert second.counts.done == 4
    summary = finalize.finalize(second.spec, second.run_id, second)
    assert (summary.ok, summary.reused) == (6, 4)
    finished = read_finished(second.spec.output)
    assert set(finished) == {key_of(item) for item in second.items}
    assert not any(found.reused for found in finished.values())
    third = done(products=4)
    finalize.finalize(third.spec, third.run_id, third)
    files = storage.list_names(storage.join(third.spec.output, "catalog"))
    assert len(files) == 3  # the pointer, the present table and the one before


def spoil_asset(plan: Plan) -> None:
    Path(plan.spec.output, next(iter(plan.items)).asset_key).write_bytes(b"other")


def lose_asset(plan: Plan) -> None:
    Path(plan.spec.output, next(iter(plan.items)).asset_key).unlink()


def first_part(plan: Plan) -> str:
    return str(min(Path(plan.files.plan).iterdir()))


def edit(uri: str, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(uri)), uri)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda plan: None, ""),
        (spoil_asset, "its bytes are not those that were written"),
        (lose_asset, "is missing"),
        (lambda plan: Path(plan.files.success).unlink(), "_SUCCESS is missing"),
        (lambda plan: Path(plan.files.matches).unlink(), "not found"),
        (lambda plan: Path(plan.files.results).write_bytes(b"PAR1"), "is damaged"),
        (lambda plan: edit(plan.files.results, lambda t: t.slice(1)), "planned, but has no row"),
        (
            lambda plan: edit(plan.files.results, lambda t: pa.concat_tables([t, t.slice(0, 1)])),
            "2 rows instead of one",
        ),
        (lambda plan: edit(first_part(plan), lambda t: t.slice(1)), "but was not planned"),
        (lambda plan: edit(plan.files.matches, lambda t: t.slice(1)), "matches are of regions []"),
        (
            lambda plan: edit(plan.files.matches, lambda t: pa.concat_tables([t, t])),
            "matches are of regions [0, 0]",
        ),
    ],
)
def test_verify_finds_what_does_not_agree(
    done: Callable[..., Plan], harm: Callable[[Plan], None], words: str
) -> None:
    plan = done(products=2, failing=("p1",))
    finalize.finalize(plan.spec, plan.run_id, plan)
    harm(plan)
    before = {path: path.stat().st_mtime_ns for path in Path(plan.spec.output).rglob("*")}
    found = verify(plan.spec.output, plan.run_id)
    assert found.ok == (words == ""), found.problems
    assert any(words in problem for problem in found.problems) or not words
    assert before == {p: p.stat().st_mtime_ns for p in Path(plan.spec.output).rglob("*")}


def test_verify_of_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="check the output and the run id"):
        verify(str(tmp_path), "run-0")
