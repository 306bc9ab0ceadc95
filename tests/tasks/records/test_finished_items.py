"""The table of finished items with concurrent runs and interrupted writes."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.arrow import from_table, to_table
from schemas.result import ItemResult
from tasks.records import finished_items, parquet
from tasks.records import index as row_index
from tasks.records.finished_items import add_finished, read_finished
from tasks.storage import StoragePath
from tests.tasks.places import at
from tests.tasks.rows import row


def add(output: Path, *products: str) -> None:
    add_finished(at(output), [to_table([row(product=name) for name in products], ItemResult)])


def products_in(output: Path) -> list[str]:
    index = read_finished(at(output))
    return sorted(r.product_id for r in from_table(index.rows(index.in_order()), ItemResult))


def parts(output: Path) -> list[str]:
    return sorted(f"catalog/{path.name}" for path in (output / "catalog").glob("items-*"))


def latest(output: Path) -> dict[str, object]:
    found = json.loads((output / "catalog/LATEST.json").read_text())
    assert isinstance(found, dict)
    return found


def test_runs_that_end_at_the_same_time_lose_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finished_items, "_MOST_PARTS", 4)
    names = [f"p{number:02d}" for number in range(24)]
    with ThreadPoolExecutor(10) as runs:
        list(runs.map(lambda name: add(tmp_path, name), names))
    assert products_in(tmp_path) == names
    assert latest(tmp_path) == {"tables": parts(tmp_path), "rows": 24}


def test_rows_are_found_after_another_run_has_compacted_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        add(tmp_path, name)
    index = read_finished(at(tmp_path))
    before = index.rows(index.in_order())
    monkeypatch.setattr(finished_items, "_MOST_PARTS", 1)
    add(tmp_path, "d")
    assert len(parts(tmp_path)) == 1
    row_index._read_part.cache_clear()
    assert index.rows(index.in_order()).equals(before)
    assert sorted(before["product_id"].to_pylist()) == ["a", "b", "c"]


def test_the_last_row_counts_with_any_clock(tmp_path: Path) -> None:
    """Also with parts of an older version, named by time; finalizing twice adds no part."""
    ahead = datetime(2090, 1, 1, tzinfo=UTC)
    rows = [
        row(product="a").model_copy(
            update={"asset_bytes": size, "finished_at": ahead - size * timedelta(days=9)}
        )
        for size in (1, 2, 3)
    ]
    old = to_table(rows[:1], ItemResult)
    place = tmp_path / "catalog" / f"items-{int(ahead.timestamp() * 1e6):016d}-{'0' * 16}.parquet"
    place.parent.mkdir()
    place.write_bytes(parquet.to_bytes(old))
    for one in rows[1:]:
        add_finished(at(tmp_path), [to_table([one], ItemResult)])
        index = read_finished(at(tmp_path))
        assert index.rows(index.in_order())["asset_bytes"].to_pylist() == [one.asset_bytes]
    before = parts(tmp_path)
    add_finished(at(tmp_path), [to_table(rows[1:2], ItemResult)])
    assert (parts(tmp_path), len(before)) == (before, 3)


@pytest.mark.parametrize(
    "spoilt", ["", "{broken", '{"tables": ["catalog/items-gone"]}', "[]", "[" * 100_000]
)
def test_the_next_run_repairs_latest_json(tmp_path: Path, spoilt: str) -> None:
    """Also a run that adds nothing, after one that crashed before it wrote the file."""
    add(tmp_path, "a", "b")
    place = tmp_path / "catalog/LATEST.json"
    if spoilt:
        place.write_text(spoilt)
    else:
        place.unlink()
    add_finished(at(tmp_path), [])
    assert latest(tmp_path) == {"tables": parts(tmp_path), "rows": 2}


def test_a_crash_during_compaction_loses_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(_: StoragePath) -> None:
        raise Killed

    for name in ("a", "b", "c"):
        add(tmp_path, name)
    monkeypatch.setattr(finished_items, "_MOST_PARTS", 2)
    with monkeypatch.context() as dying:
        dying.setattr(StoragePath, "delete", killed)
        with pytest.raises(Killed):
            add_finished(at(tmp_path), [])
    assert products_in(tmp_path) == ["a", "b", "c"]
    add(tmp_path, "d")
    assert products_in(tmp_path) == ["a", "b", "c", "d"]
    assert latest(tmp_path)["tables"] == parts(tmp_path)
