"""Tables in parts: compaction keeps them few, and crashes or frozen processes lose no row."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from schemas.arrow import from_table
from schemas.result import ItemResult
from tasks.errors import FileMissing, StorageError
from tasks.records import ledger as ledgers
from tasks.records import parts
from tasks.records.ledger import Ledger, read_ledger
from tasks.records.parts import Part
from tasks.storage import StoragePath
from tasks.storage.local import LocalDisk
from tests.tasks.places import files_of
from tests.tasks.rows import row


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compact parts early."""
    monkeypatch.setattr(ledgers, "MORE_PARTS", 4)


def write(ledger: Ledger, *products: str) -> None:
    """Commit items one by one, as with slow items."""
    for product in products:
        ledger.append(row(product=product))
        ledger.commit()


def held(output: Path) -> list[str]:
    index = read_ledger(files_of(output))
    rows = from_table(index.rows(index.in_order()), ItemResult)
    assert len(rows) == len(index)
    return sorted(one.product_id for one in rows)


def names(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "runs/run-1/ledger").glob("*.parquet"))


ITEMS = [f"p{number:02d}" for number in range(30)]


def test_slow_items_give_few_parts_without_losing_attempts(tmp_path: Path) -> None:
    ledger = Ledger(files_of(tmp_path))
    for attempts, product in itertools.product((1, 2), ITEMS):
        ledger.append(row("failed", product, attempts))
        ledger.commit()
    assert len(names(tmp_path)) <= 5
    index = read_ledger(files_of(tmp_path))
    assert {one.attempts for one in from_table(index.rows(index.in_order()), ItemResult)} == {2}
    whole = parts.read_all(files_of(tmp_path).ledger, index.parts)
    assert whole["attempts"].to_pylist() == [1] * 30 + [2] * 30

    again = Ledger(files_of(tmp_path), index.parts)
    write(again, "p07", *ITEMS[:5])
    assert len(names(tmp_path)) <= 5
    index = read_ledger(files_of(tmp_path))
    assert sorted(one.status for one in from_table(index.rows(index.in_order()), ItemResult)) == [
        *["failed"] * 24,
        *["ok"] * 6,
    ]


def test_parts_of_earlier_versions_are_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "MORE_PARTS", 1000)
    write(Ledger(files_of(tmp_path)), *ITEMS)
    index = read_ledger(files_of(tmp_path))
    assert len(index.parts) == len(ITEMS)
    monkeypatch.setattr(ledgers, "MORE_PARTS", 4)
    Ledger(files_of(tmp_path), index.parts).compact()
    assert len(names(tmp_path)) == 1
    assert held(tmp_path) == ITEMS
    assert len(index.rows(index.in_order())) == len(ITEMS)  # found again where they are now


def test_merged_parts_are_limited_in_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MOST_BYTES", 100)
    sizes = [(5, 10), (5, 10), (1, 10), (9, 10), (3, 90), (1, 10), (1, 10), (1, 200), (1, 1)]
    given = [Part(str(number), *size) for number, size in enumerate(sizes)]
    assert [[part.name for part in group] for group in parts.mergeable_groups(given, 10)] == [
        ["0", "1"],
        ["2", "3"],
        ["4", "5"],
    ]


def test_large_rows_are_committed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MAX_TEXT", 100_000)
    ledger = Ledger(files_of(tmp_path))
    for product in ITEMS:
        more = {"style_regions": {f"s{number}": "x" * 90 for number in range(300)}}
        ledger.append(row(product=product).model_copy(update=more))
    assert len(held(tmp_path)) >= 27


class Killed(BaseException):
    """SIGKILL."""


def test_a_crash_at_any_write_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Committed rows survive a crash after any write or deletion."""
    monkeypatch.setattr(ledgers, "MORE_PARTS", 2)
    monkeypatch.setattr(parts, "_THREADS", 1)
    left, committed = 1000, 0

    def mortal(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **kwargs: Any) -> Any:
            nonlocal left, committed
            left -= 1
            if left < 0:
                raise Killed
            done = real(*args, **kwargs)
            committed += Path(args[1]).name.count(".") == 1 and real.__name__ == "write"
            return done

        return change

    for name in ("write", "delete"):
        monkeypatch.setattr(LocalDisk, name, mortal(getattr(LocalDisk, name)))
    write(Ledger(files_of(tmp_path / "whole")), *ITEMS[:6])
    for life in range(1, 1000 - left):
        output, left, committed = tmp_path / str(life), life, 0
        with pytest.raises(Killed):
            write(Ledger(files_of(output)), *ITEMS[:6])
        left = 1000
        index = read_ledger(files_of(output))
        rows = from_table(index.rows(index.in_order()), ItemResult)
        done = [one.product_id for one in rows]
        assert done == ITEMS[:committed]
        write(Ledger(files_of(output), index.parts), *ITEMS[len(done) : 6])
        assert held(output) == ITEMS[:6]


def test_a_driver_frozen_during_compaction_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, real = Ledger(files_of(tmp_path)), StoragePath.write_bytes
    write(former, *ITEMS[:4])
    later = Ledger(files_of(tmp_path), read_ledger(files_of(tmp_path)).parts)

    def frozen(part: StoragePath, data: bytes) -> None:
        if part.uri.count(".") > 1 and "-000004." in part.uri:  # the former driver's merged part
            monkeypatch.setattr(StoragePath, "write_bytes", real)
            write(later, *ITEMS[5:20])
        real(part, data)

    monkeypatch.setattr(StoragePath, "write_bytes", frozen)
    write(former, ITEMS[4])
    assert held(tmp_path) == ITEMS[:20]
    write(former, *ITEMS[20:])  # its parts are gone: it leaves them to the other
    write(later, *ITEMS[5:20])
    assert held(tmp_path) == ITEMS
    assert len(names(tmp_path)) < 30


def test_a_store_that_refuses_deletion_loses_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(part: StoragePath) -> None:
        raise StorageError(f"{part}: not allowed")

    monkeypatch.setattr(StoragePath, "delete", refuse)
    write(Ledger(files_of(tmp_path)), *ITEMS)
    assert held(tmp_path) == ITEMS
    assert "not allowed" in caplog.text


def test_readers_find_every_row_during_compaction(tmp_path: Path) -> None:
    ledger = Ledger(files_of(tmp_path))
    write(ledger, "first")
    writer = Thread(target=write, args=(ledger, *ITEMS * 2))
    writer.start()
    index = read_ledger(files_of(tmp_path))
    while writer.is_alive():
        assert "first" in held(tmp_path)
        before, index = len(index), index.refreshed()
        assert len(index) >= before
    writer.join()
    assert held(tmp_path) == ["first", *ITEMS]
    assert len(index.rows(index.in_order())) == len(index)


def test_inconsistent_listings_are_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One page of a listing is from before a compaction, the next page from after it."""
    write(Ledger(files_of(tmp_path)), *ITEMS[:8])
    real = StoragePath.list_names
    lists: Iterator[slice] = iter([slice(0, 1)])
    monkeypatch.setattr(
        StoragePath, "list_names", lambda folder: real(folder)[next(lists, slice(None))]
    )
    assert held(tmp_path) == ITEMS[:8]


def test_missing_rows_are_reported(tmp_path: Path) -> None:
    write(Ledger(files_of(tmp_path)), "a", "b")
    index = read_ledger(files_of(tmp_path))
    (tmp_path / "runs/run-1/ledger" / names(tmp_path)[0]).unlink()
    with pytest.raises(FileMissing, match="ledger: cannot find 1 row; run the same command again"):
        index.rows(index.in_order())
