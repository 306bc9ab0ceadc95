"""Ledger, result tables and finished items, without Ray and engine."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.arrow import from_table, to_table
from schemas.result import ErrorInfo, ItemResult
from tasks import planning
from tasks.errors import IncompleteRunError, RecordError, StorageError
from tasks.execution.execute import assignments
from tasks.messages import ActorSetup
from tasks.planning import Plan
from tasks.records import parquet
from tasks.records.finished_items import add_finished, read_finished
from tasks.records.index import STATUSES, RowIndex, key_hashes
from tasks.records.ledger import Ledger, read_ledger
from tasks.results import finalize
from tasks.storage import StoragePath
from tests.tasks.actors import LightActor, a_match, passing_fault
from tests.tasks.conftest import MakeSpec
from tests.tasks.execution.test_pool import ONE
from tests.tasks.places import at, files_of


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


def held(output: str) -> list[ItemResult]:
    """The effective rows of the ledger, in the order of writing."""
    index = read_ledger(files_of(output))
    return from_table(index.rows(index.in_order()), ItemResult)


def test_the_ledger_returns_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.records.ledger.MAX_ROWS", 64)
    output = str(tmp_path)
    assert held(output) == []
    ledger = Ledger(files_of(output))
    rows = [row(product=f"p{i}") for i in range(70)]
    for one in rows:
        ledger.append(one)
    assert len(held(output)) == 64
    ledger.commit()
    ledger.commit()
    assert held(output) == rows
    parts = sorted((tmp_path / "runs/run-1/ledger").iterdir())
    assert len(parts) == 2
    for batch in pq.ParquetFile(parts[0]).iter_batches(10):
        assert batch.column("matches")[0].as_py()[0]["style_id"] == "sky"


def test_rows_are_written_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 2)
    monkeypatch.setattr("tasks.records.ledger.time.monotonic", lambda: next(clock))
    ledger = Ledger(files_of(tmp_path))
    ledger.append(row())
    assert held(str(tmp_path)) == []
    ledger.commit_if_due()
    assert len(held(str(tmp_path))) == 1


def index_of(*parts: list[ItemResult]) -> RowIndex:
    named = [(at(f"{number}"), to_table(part, ItemResult)) for number, part in enumerate(parts)]
    return RowIndex(named)


def test_rows_are_kept_while_the_store_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("tasks.records.ledger.time.monotonic", lambda: clock[0])
    real, away = parquet.write_rows, StorageError("away", transient=True)

    def fail(*_: object) -> None:
        raise away

    ledger = Ledger(files_of(tmp_path))
    monkeypatch.setattr(parquet, "write_rows", fail)
    ledger.append(row(product="a"))
    clock[0] += 4
    ledger.commit_if_due()
    ledger.append(row(product="b"))
    assert held(str(tmp_path)) == []
    monkeypatch.setattr(parquet, "write_rows", real)
    ledger.commit_if_due()
    assert held(str(tmp_path)) == []  # not retried yet
    clock[0] += 6
    ledger.commit_if_due()
    assert [r.product_id for r in held(str(tmp_path))] == ["a", "b"]
    monkeypatch.setattr(parquet, "write_rows", fail)
    ledger.append(row(product="c"))
    for _ in range(100):
        clock[0] += 5.5
        ledger.commit_if_due()
    clock[0] += 100
    with pytest.raises(StorageError, match="away"):
        ledger.commit_if_due()


def test_a_flipped_bit_in_a_page_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "part.parquet"
    part = at(file)
    parquet.write_rows(part, [row(attempts=i**3) for i in range(2000)], ItemResult)
    good, data = pq.read_table(file), file.read_bytes()
    columns = pq.read_metadata(file).row_group(0).to_dict()["columns"]
    (chunk,) = (column for column in columns if column["path_in_schema"] == "attempts")
    lied = 0
    # after the page header
    for place in range(chunk["dictionary_page_offset"] + 100, chunk["data_page_offset"], 97):
        file.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            unchecked = pq.read_table(file)
        except (pa.ArrowException, OSError):
            continue
        if not unchecked.equals(good):  # without checksums the reader would not notice
            lied += 1
            with pytest.raises(RecordError, match="is damaged"):
                parquet.read_table(part)
            damaged = file.read_bytes()
    assert lied
    for reads in ([damaged, data], [damaged, data[:-9]]):  # damaged in transit, not in the store
        monkeypatch.setattr(StoragePath, "read_bytes", lambda _, reads=reads: reads.pop(0))
        if data in reads:
            assert parquet.read_table(part).equals(good)
        else:
            with pytest.raises(StorageError, match="two reads gave different bytes") as caught:
                parquet.read_table(part)
            assert caught.value.transient


def test_an_ok_row_wins_in_any_order() -> None:
    rows = [row("failed"), row("ok"), row("failed", attempts=2), row("rejected")]
    key = key_hashes(to_table([row()], ItemResult))
    for order in itertools.permutations(rows):
        for cut in range(5):
            index = index_of(list(order[:cut]), list(order[cut:]))
            assert len(index) == 1
            assert STATUSES[index.statuses(key)[0]] == "ok"
    other = key_hashes(to_table([row(product="other")], ItemResult))
    assert index.statuses(other).tolist() == [0]
    assert index_of().statuses(key).tolist() == [0]


def test_rows_are_returned_in_the_requested_order(tmp_path: Path) -> None:
    rows = [row(product=f"p{i}") for i in range(9)]
    files = [at(tmp_path / f"{k}.parquet") for k in range(3)]
    for k, file in enumerate(files):
        parquet.write_rows(file, rows[3 * k : 3 * k + 3], ItemResult)
    index = RowIndex((file, parquet.read_table(file)) for file in files)
    wanted = [rows[i] for i in (7, 0, 8, 4, 0, 3)]
    places = index.positions(key_hashes(to_table(wanted, ItemResult)))
    assert from_table(index.rows(places), ItemResult) == wanted
    assert index.rows(places[:0]).num_rows == 0


def test_tables_of_older_versions_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "runs/run-1/ledger"
    folder.mkdir(parents=True)
    old = to_table([row()], ItemResult).drop_columns(["reused", "timings", "finished_at"])
    pq.write_table(old, folder / "part-1.parquet")
    assert held(str(tmp_path)) == [row().model_copy(update={"timings": {}})]
    place = old.schema.names.index("status")
    pq.write_table(old.set_column(place, "status", [["lost"]]), folder / "part-1.parquet")
    with pytest.raises(RecordError, match=r"part-1.parquet has the unknown status lost"):
        read_ledger(files_of(tmp_path))
    pq.write_table(
        old.set_column(old.schema.names.index("matches"), "matches", [[7]]),
        folder / "part-1.parquet",
    )
    with pytest.raises(RecordError, match=r"part-1.parquet is not a table of ItemResult"):
        read_ledger(files_of(tmp_path))


def test_later_drivers_come_later(tmp_path: Path) -> None:
    for attempts in (1, 2, 3):
        ledger = Ledger(files_of(tmp_path))
        ledger.append(row("failed", attempts=attempts))
        ledger.commit()
    (winner,) = held(str(tmp_path))
    assert winner.attempts == 3


def test_a_damaged_or_foreign_part_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs/run-1/ledger"
    parquet.write_rows(at(folder / "part-1.parquet"), [row()], ItemResult)
    good = (folder / "part-1.parquet").read_bytes()
    (folder / "notes.txt").write_text("mine")
    assert len(held(str(tmp_path))) == 1
    (folder / "part-2.parquet").write_bytes(good[:-20])
    with pytest.raises(RecordError, match=r"part-2.parquet is damaged"):
        read_ledger(files_of(tmp_path))
    pq.write_table(pa.table({"x": [1]}), folder / "part-2.parquet")
    with pytest.raises(RecordError, match=r"part-2.parquet .* lacks the columns .*item_id"):
        read_ledger(files_of(tmp_path))
    (folder / "part-2.parquet").unlink()
    (tmp_path / "runs/run-2").mkdir()
    folder.rename(tmp_path / "runs/run-2/ledger")
    with pytest.raises(RecordError, match="belongs to run run-1, not to run-2"):
        read_ledger(files_of(tmp_path, "run-2"))


@pytest.fixture
def done(make_spec: MakeSpec) -> Callable[..., Plan]:
    """Return a function that executes runs without Ray, with the results of a light actor."""

    def do(products: int = 3, failing: tuple[str, ...] = (), skip: int = 0) -> Plan:
        plan = planning.make_plan(make_spec(products=products, pool=ONE))
        planning.write_plan(plan)
        setup = ActorSetup(
            plan.spec.engine, plan.spec.params, plan.files.output, plan.run_id, "", 1
        )
        actor, ledger = LightActor(setup), Ledger(plan.files)
        for assignment in list(assignments(plan, plan.completed))[skip:]:
            found, item = actor.do(assignment), assignment.item
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
    assert not Path(plan.files.success.uri).exists()
    finalize.close_record(plan, "cancelled", message="the user stopped it")
    record = json.loads(Path(plan.files.record.uri).read_text())
    assert (record["state"], record["message"]) == ("cancelled", "the user stopped it")


def test_failed_rows_become_the_next_manifest(
    done: Callable[..., Plan], make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = planning.make_plan(make_spec(pool=ONE)).run_id
    monkeypatch.setattr(
        "tasks.planning.expand._PART_TEXT", 1
    )  # as if there were thousands of references
    plan = done(failing=("p1",))
    assert plan.run_id == name
    assert len(list(plan.items.parts())) == 6
    summary = finalize.finalize(plan.spec, plan.run_id, plan)
    assert (summary.ok, summary.failed) == (4, 2)
    (photo,) = pq.read_table(plan.files.retry.uri).to_pylist()
    assert (photo["product_id"], photo["galleries"], photo["seed"]) == (
        "p1",
        ["coffee", "rocket"],
        None,
    )
    spec = plan.spec.model_copy(update={"catalog": plan.files.retry.uri})
    retry = planning.make_plan(spec)
    wanted = {item.item_id for item in plan.items if item.product_id == "p1"}
    assert {item.item_id for item in retry.items} == wanted

    again = done()
    assert (again.run_id, again.counts.todo) == (plan.run_id, 2)
    assert not Path(plan.files.success.uri).exists()
    summary = finalize.finalize(again.spec, again.run_id, again)
    assert (summary.ok, summary.failed) == (6, 0)
    assert not Path(plan.files.retry.uri).exists()


def test_finished_items_accumulate_over_runs(done: Callable[..., Plan]) -> None:
    first = done(products=2)
    finalize.finalize(first.spec, first.run_id, first)
    second = done(products=3)
    assert second.counts.done == 4
    summary = finalize.finalize(second.spec, second.run_id, second)
    assert (summary.ok, summary.reused) == (6, 4)
    finished = read_finished(second.files.output)
    planned = np.concatenate([key_hashes(part) for _, part in second.items.parts()])
    assert sorted(finished.positions(planned)) == list(range(6))
    assert not any(finished.rows(finished.in_order())["reused"].to_pylist())
    (first_names, second_names) = (names(first), names(second))
    assert len(first_names) == len(second_names) == 2  # one part per run: none is written twice
    finalize.finalize(second.spec, second.run_id, second)
    assert names(second) == second_names


def names(plan: Plan) -> list[str]:
    found = (plan.files.output / "catalog").list_names()
    return [name for name in found if name != "LATEST.json"]


def test_many_parts_of_finished_items_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.records.finished_items._MOST_PARTS", 3)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        row(product=f"p{i % 5}", attempts=i + 1).model_copy(
            update={"finished_at": moment + timedelta(seconds=i)}
        )
        for i in range(8)
    ]
    for number, one in enumerate(rows):
        add_finished(at(tmp_path), [to_table([one], ItemResult)])
        found = read_finished(at(tmp_path))
        assert len(found) == min(number + 1, 5)
        assert len(list((tmp_path / "catalog").glob("items-*"))) <= 3
    kept = from_table(found.rows(found.in_order()), ItemResult)
    assert sorted((r.product_id, r.attempts) for r in kept) == [
        ("p0", 6), ("p1", 7), ("p2", 8), ("p3", 4), ("p4", 5)
    ]  # fmt: skip
    latest = json.loads((tmp_path / "catalog/LATEST.json").read_text())
    assert latest["rows"] == 5
    assert {Path(name).name for name in latest["tables"]} == {
        path.name for path in (tmp_path / "catalog").glob("items-*")
    }
