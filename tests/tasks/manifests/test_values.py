"""Columns of all Arrow types become manifest values, or text in the extra columns."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.manifests import reader, values
from tasks.manifests.reader import Photo
from tasks.manifests.values import Unusable, column_texts, column_values

INT_DICTIONARY = pa.array([1001, 1002]).dictionary_encode()


def read(folder: Path, **columns: Any) -> list[Photo]:
    table = {"product_id": ["a", "b"], "image_uri": ["a.png", "b.png"], **columns}
    pq.write_table(pa.table(table), folder / "c.parquet")
    return list(reader.read_catalog(str(folder / "c.parquet"), strict=True))


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (pa.array(["A1", "B2"], pa.string_view()), ["A1", "B2"]),
        (pa.array([b"A1", b"B2"], pa.binary()), ["A1", "B2"]),
        (pa.array([b"A1", b"B2"], pa.binary_view()), ["A1", "B2"]),
        (pa.array([b"A1", b"B2"], pa.large_binary()), ["A1", "B2"]),
        (pa.array([b"A1", b"B2"], pa.binary(2)), ["A1", "B2"]),
        (pa.array([1001, 2**53 + 1]), ["1001", "9007199254740993"]),
        (pa.array([1, 2**64 - 1], pa.uint64()), ["1", "18446744073709551615"]),
        (INT_DICTIONARY, ["1001", "1002"]),
        (pa.array([1001.0, 10.5]), ["1001", "10.5"]),
        (pa.array([Decimal("1001"), Decimal("7")], pa.decimal128(18, 0)), ["1001", "7"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_ids_are_read_from_any_type(tmp_path: Path, column: pa.Array, ids: list[str]) -> None:
    found = read(tmp_path, product_id=column, image_uri=pa.array(["x", "y"], pa.string_view()))
    assert [photo.row.product_id for photo in found] == ids
    assert [photo.row.image_uri for photo in found] == [str(tmp_path / "x"), str(tmp_path / "y")]


@pytest.mark.parametrize(
    ("column", "galleries"),
    [
        (["busy", "calm; busy"], [["busy"], ["calm", "busy"]]),
        (["busy", ""], [["busy"], None]),
        (['["busy", "a;b"]', "[busy]"], [["busy", "a;b"], ["[busy]"]]),
        (pa.array([["busy"], ["calm"]], pa.list_(pa.string(), 1)), [["busy"], ["calm"]]),
        (pa.array([["busy"], None], pa.list_view(pa.string())), [["busy"], None]),
        (pa.array([["busy"], None], pa.large_list_view(pa.string_view())), [["busy"], None]),
        (
            pa.array([["busy"], None], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
            [["busy"], None],
        ),
        (pa.array([[b"busy"], None], pa.large_list(pa.binary())), [["busy"], None]),
        (pa.array([[12], [7, 8]]), [["12"], ["7", "8"]]),
        (pa.array([12, None]), [["12"], None]),
        (pa.array(["busy", None]).dictionary_encode(), [["busy"], None]),
        (pa.array([None, None]), [None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_galleries_are_read_from_any_type(tmp_path: Path, column: Any, galleries: Any) -> None:
    found = read(tmp_path, galleries=column)
    assert [photo.row.galleries for photo in found] == galleries


@pytest.mark.parametrize(
    "column",
    [
        pa.array([7.0, None]),
        pa.array(["7", ""]),
        pa.array(["7.0", " "]),
        pa.array([Decimal("7.00"), None], pa.decimal128(5, 2)),
        pa.array([7, None], pa.int8()).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_seeds_are_read_from_any_type(tmp_path: Path, column: pa.Array) -> None:
    assert [photo.row.seed for photo in read(tmp_path, seed=column)] == [7, None]


NS = 1704067200123456789


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([NS], pa.timestamp("ns")), "2024-01-01T00:00:00.123456789"),
        (pa.array([NS], pa.timestamp("ns", "UTC")), "2024-01-01T00:00:00.123456789Z"),
        (pa.array([NS - NS % 10**9], pa.timestamp("ns")), "2024-01-01T00:00:00"),
        (pa.array([datetime(2030, 1, 31, 12)]), "2030-01-31T12:00:00"),
        (pa.array([0], pa.timestamp("us", "Nowhere/Land")), "1970-01-01T00:00:00Z"),
        (pa.array([2**50], pa.timestamp("s")), "1125899906842624000 ms since 1970"),
        (pa.array([2**31 - 1], pa.int32()).cast(pa.date32()), "2147483647 days since 1970"),
        (pa.array([date(2030, 1, 31)]), "2030-01-31"),
        (pa.array([5], pa.time64("ns")), "00:00:00.000000005"),
        (pa.array([5], pa.duration("ns")), "5 ns"),
        (pa.array([[NS]], pa.list_(pa.timestamp("ns"))), '["2024-01-01T00:00:00.123456789"]'),
        (pa.array([{"a": 5}], pa.struct([("a", pa.time64("ns"))])), '{"a": "00:00:00.000000005"}'),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), '{"k": 1}'),
        (pa.array([["x"]], pa.list_view(pa.string())), '["x"]'),
        (pa.array([b"text"]), "text"),
        (pa.array([b"\xff\x00"]), "/wA="),
        (pa.array(["x"], pa.string_view()), "x"),
        (pa.array([b"0123456789abcdef"], pa.uuid()), "30313233-3435-3637-3839-616263646566"),
        (pa.array(['{"a":1}'], pa.json_()), '{"a":1}'),
        (pa.array([Decimal("1.50")]), "1.50"),
        (pa.array([1.5], pa.float16()), "1.5"),
        (pa.array([True]), "true"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_extra_columns_of_any_type_are_passed_on(
    tmp_path: Path, column: pa.Array, text: str
) -> None:
    columns = {"product_id": ["a"], "image_uri": ["a.png"], "more": column}
    (photo,) = read(tmp_path, **columns)
    assert photo.extra == {"more": text}


def test_a_cell_that_is_too_long_affects_only_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MAX_TEXT", 4)
    for kind in (
        pa.string(),
        pa.string_view(),
        pa.large_string(),
        pa.dictionary(pa.int32(), pa.string()),
    ):
        column = pa.array(["x", "y" * 5, None, "zzzz"], pa.string()).cast(kind)
        for found in (column_texts(column), column_values(column, pa.string())):
            assert [found[0], *found[2:]] == ["x", None, "zzzz"]
            assert isinstance(found[1], Unusable)
    nested = column_texts(pa.array([["x" * 5], []]))
    assert isinstance(nested[0], Unusable)
    assert nested[1] == "[]"
