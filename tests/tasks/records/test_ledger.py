"""The ledger: rows are kept, read and named when damaged."""

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.arrow import from_table, to_table
from schemas.result import ItemResult
from tasks.errors import RecordError, StorageError
from tasks.records import parquet
from tasks.records.ledger import Ledger, read_ledger
from tests.tasks.places import at, files_of
from tests.tasks.rows import row


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
