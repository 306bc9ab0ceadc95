"""Tables in parts: few however slowly the rows come, whole whoever dies or stands still when."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from schemas.arrow import from_table
from schemas.result import ItemResult
from tasks import ledger as ledgers
from tasks import parts, storage
from tasks.errors import FileMissing, StorageError
from tasks.ledger import Ledger, read_ledger
from tasks.local_disk import LocalDisk
from tasks.parts import Part
from tests.tasks.test_records import row


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put parts together early."""
    monkeypatch.setattr(ledgers, "MORE_PARTS", 4)


def write(ledger: Ledger, *products: str) -> None:
    """Commit one item after the other, as slow ones are."""
    for product in products:
        ledger.append(row(product=product))
        ledger.commit()


def held(output: Path) -> list[str]:
    index = read_ledger(str(output), "run-1")
    rows = from_table(index.rows(index.in_order()), ItemResult)
    assert len(rows) == len(index)
    return sorted(one.product_id for one in rows)


def names(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "runs/run-1/ledger").glob("*.parquet"))


ITEMS = [f"p{number:02d}" for number in range(30)]


def test_slow_items_leave_few_parts_and_every_attempt(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "run-1")
    for attempts, product in itertools.product((1, 2), ITEMS):
        ledger.append(row("failed", product, attempts))
        ledger.commit()
    assert len(names(tmp_path)) <= 5
    index = read_ledger(str(tmp_path), "run-1")
    assert {one.attempts for one in from_table(index.rows(index.in_order()), ItemResult)} == {2}
    whole = parts.read_whole(str(tmp_path / "runs/run-1/ledger"), index.parts)
    assert whole["attempts"].to_pylist() == [1] * 30 + [2] * 30

    again = Ledger(str(tmp_path), "run-1", index.parts)
    write(again, "p07", *ITEMS[:5])
    assert len(names(tmp_path)) <= 5
    index = read_ledger(str(tmp_path), "run-1")
    assert sorted(one.status for one in from_table(index.rows(index.in_order()), ItemResult)) == [
        *["failed"] * 24,
        *["ok"] * 6,
    ]


def test_parts_of_earlier_versions_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "MORE_PARTS", 1000)
    write(Ledger(str(tmp_path), "run-1"), *ITEMS)
    index = read_ledger(str(tmp_path), "run-1")
    assert len(index.parts) == len(ITEMS)
    monkeypatch.setattr(ledgers, "MORE_PARTS", 4)
    Ledger(str(tmp_path), "run-1", index.parts).put_together()
    assert len(names(tmp_path)) == 1
    assert held(tmp_path) == ITEMS
    assert len(index.rows(index.in_order())) == len(ITEMS)  # found again where they are now


def test_parts_are_bounded_by_rows_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MOST_BYTES", 100)
    sizes = [(5, 10), (5, 10), (1, 10), (9, 10), (3, 90), (1, 10), (1, 10), (1, 200), (1, 1)]
    given = [Part(str(number), *size) for number, size in enumerate(sizes)]
    assert [[part.name for part in group] for group in parts.groups(given, 10)] == [
        ["0", "1"],
        ["2", "3"],
        ["4", "5"],
    ]


def test_rows_of_much_text_do_not_wait_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "MAX_TEXT", 100_000)
    ledger = Ledger(str(tmp_path), "run-1")
    for product in ITEMS:
        more = {"style_regions": {f"s{number}": "x" * 90 for number in range(300)}}
        ledger.append(row(product=product).model_copy(update=more))
    assert len(held(tmp_path)) >= 27


class Killed(BaseException):
    """SIGKILL."""


def test_a_death_at_any_change_loses_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were committed stay, whatever write or deletion was the last."""
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
    write(Ledger(str(tmp_path / "whole"), "run-1"), *ITEMS[:6])
    for life in range(1, 1000 - left):
        output, left, committed = tmp_path / str(life), life, 0
        with pytest.raises(Killed):
            write(Ledger(str(output), "run-1"), *ITEMS[:6])
        left = 1000
        index = read_ledger(str(output), "run-1")
        rows = from_table(index.rows(index.in_order()), ItemResult)
        done = [one.product_id for one in rows]
        assert done == ITEMS[:committed]
        write(Ledger(str(output), "run-1", index.parts), *ITEMS[len(done) : 6])
        assert held(output) == ITEMS[:6]


def test_a_driver_that_stood_still_while_it_put_parts_together_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, real = Ledger(str(tmp_path), "run-1"), storage.write_bytes
    write(former, *ITEMS[:4])
    later = Ledger(str(tmp_path), "run-1", read_ledger(str(tmp_path), "run-1").parts)

    def frozen(uri: str, data: bytes) -> None:
        if uri.count(".") > 1 and "-000004." in uri:  # what the former driver puts together
            monkeypatch.setattr(storage, "write_bytes", real)
            write(later, *ITEMS[5:20])
        real(uri, data)

    monkeypatch.setattr(storage, "write_bytes", frozen)
    write(former, ITEMS[4])
    assert held(tmp_path) == ITEMS[:20]
    write(former, *ITEMS[20:])  # its parts are gone: it leaves them to the other
    write(later, *ITEMS[5:20])
    assert held(tmp_path) == ITEMS
    assert len(names(tmp_path)) < 30


def test_a_store_that_deletes_nothing_costs_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(uri: str) -> None:
        raise StorageError(f"{uri}: not allowed")

    monkeypatch.setattr(storage, "delete", refuse)
    write(Ledger(str(tmp_path), "run-1"), *ITEMS)
    assert held(tmp_path) == ITEMS
    assert "not allowed" in caplog.text


def test_readers_find_every_row_while_parts_are_put_together(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "run-1")
    write(ledger, "first")
    writer = Thread(target=write, args=(ledger, *ITEMS * 2))
    writer.start()
    index = read_ledger(str(tmp_path), "run-1")
    while writer.is_alive():
        assert "first" in held(tmp_path)
        before, index = len(index), index.renewed()
        assert len(index) >= before
    writer.join()
    assert held(tmp_path) == ["first", *ITEMS]
    assert len(index.rows(index.in_order())) == len(index)


def test_a_list_that_is_torn_by_another_process_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long list, one page comes from before and the next from after parts moved."""
    write(Ledger(str(tmp_path), "run-1"), *ITEMS[:8])
    real = storage.list_names
    lists: Iterator[slice] = iter([slice(0, 1)])
    monkeypatch.setattr(storage, "list_names", lambda place: real(place)[next(lists, slice(None))])
    assert held(tmp_path) == ITEMS[:8]


def test_rows_that_are_gone_for_good_are_told_of(tmp_path: Path) -> None:
    write(Ledger(str(tmp_path), "run-1"), "a", "b")
    index = read_ledger(str(tmp_path), "run-1")
    (tmp_path / "runs/run-1/ledger" / names(tmp_path)[0]).unlink()
    with pytest.raises(FileMissing, match="ledger: 1 rows are gone; run the same command again"):
        index.rows(index.in_order())
