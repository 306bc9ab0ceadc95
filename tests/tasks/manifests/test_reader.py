"""Each broken rule gives one sentence: where, what, what to do."""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import ManifestError
from tasks.manifests import reader
from tasks.manifests.reader import Galleries, Photo
from tests.s3_server import S3Server

GOOD = {"product_id": ["a", "b"], "image_uri": ["a.jpg", "sub/b.jpg"]}
GALLERY = {
    "gallery_id": ["g", "g", "h"],
    "style_id": ["2", "1", "1"],
    "image_uri": ["2.png", "1.png", "s3://bucket/h.png"],
}


def catalog(folder: Path, strict: bool = False, **columns: Any) -> list[Photo]:
    """Read a catalog with these columns; None drops one."""
    table = {name: values for name, values in {**GOOD, **columns}.items() if values is not None}
    pq.write_table(pa.table(table), folder / "c.parquet")
    return list(reader.read_catalog(str(folder / "c.parquet"), strict=strict))


def galleries(
    folder: Path, only: tuple[str, ...] = (), strict: bool = False, **columns: Any
) -> Galleries:
    pq.write_table(pa.table({**GALLERY, **columns}), folder / "g.parquet")
    return reader.read_galleries([str(folder / "g.parquet")], only, strict=strict)


def test_a_good_catalog_is_read(tmp_path: Path) -> None:
    found = catalog(
        tmp_path,
        view=["main", None],
        galleries=[None, ["g"]],
        seed=pa.array([7, None], pa.int32()),
        mask_uri=["", "m.png"],
        price=[1.5, None],
        tags=[["x", "y"], None],
        season=["ss26", "fw26"],
    )
    one, two = found
    assert (one.number, one.row.product_id, one.row.view, one.row.seed) == (1, "a", "main", 7)
    assert one.row.image_uri == str(tmp_path / "a.jpg")
    assert one.row.mask_uri is None
    assert one.extra == {"price": "1.5", "tags": '["x", "y"]', "season": "ss26"}
    assert (two.row.view, two.row.galleries, two.row.seed) == ("main", ["g"], None)
    assert two.row.mask_uri == str(tmp_path / "m.png")
    assert two.extra == {"season": "fw26"}


def test_dictionaries_and_large_strings_are_text(tmp_path: Path) -> None:
    encoded = pa.array(["a", "b"]).dictionary_encode()
    found = catalog(tmp_path, product_id=encoded, view=pa.array(["x", "y"], pa.large_string()))
    assert [photo.row.product_id for photo in found] == ["a", "b"]


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_all_parquet_encodings_of_text_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "c.parquet"
    ways = dict.fromkeys(GOOD, encoding)
    pq.write_table(pa.table(GOOD), path, use_dictionary=False, column_encoding=ways)
    assert [p.row.product_id for p in reader.read_catalog(str(path))] == ["a", "b"]


@pytest.mark.parametrize(
    ("columns", "column", "row", "words"),
    [
        ({"seed": pa.array([1, 2**63], pa.uint64())}, "seed", 2, "is not a 64-bit integer"),
        ({"seed": [1.0, 2.5]}, "seed", 2, "2.5 is not a 64-bit integer"),
        ({"seed": ["1", "x"]}, "seed", 2, "'x' is not a 64-bit integer"),
        ({"product_id": [float("inf"), 2.0]}, "product_id", 1, "inf is not text"),
        ({"product_id": [b"a", b"\xff"]}, "product_id", 2, "are not UTF-8"),
        ({"product_id": ["a", None]}, "product_id", 2, "is empty (null); give it a value"),
        ({"product_id": ["a", ""]}, "product_id", 2, "is empty; give it a value"),
        ({"image_uri": ["", "b"]}, "image_uri", 1, "is empty; give it a value"),
        ({"product_id": ["a", "a"]}, "product_id", 2, "'a' / 'main' is already in row 1"),
        ({"product_id": ["a", ".."]}, "product_id", 2, "or only dots; rename it"),
        ({"product_id": ["a", "/" * 80]}, "product_id", 2, "too long for a file name"),
        ({"product_id": ["a\nb", "c"]}, "product_id", 1, "control character"),
        ({"view": ["ü" * 101, "c"]}, "view", 1, "longer than 200 bytes"),
        ({"view": ["x" * 129, "c"]}, "view", 1, "at most 128 characters"),
        ({"seed": [-1, 2]}, "seed", 1, "greater than or equal to 0"),
        ({"galleries": [[], ["g"]]}, "galleries", 1, "is an empty list"),
        ({"image_uri": ["https://x/a.jpg", "b"]}, "image_uri", 1, "https:, which is not supported"),
        ({"mask_uri": [None, "gs://x/a"]}, "mask_uri", 2, "use a local path, file:// or s3://"),
    ],
)
def test_invalid_rows_are_reported(
    tmp_path: Path, columns: dict[str, Any], column: str, row: int, words: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        catalog(tmp_path, strict=True, **columns)
    error = caught.value
    assert (error.column, error.row) == (column, row)
    assert words in str(error)
    assert str(error).startswith(f"{tmp_path / 'c.parquet'}: column `{column}`, row {row}")
    assert "\n" not in str(error)
    photos = catalog(tmp_path, **columns)
    assert [str(photo.problem or "") for photo in photos] == [
        str(error) if photo.number == row else "" for photo in photos
    ]


@pytest.mark.parametrize(
    ("columns", "column", "words"),
    [
        ({"image_uri": None}, "image_uri", "is missing (existing columns: product_id); add it"),
        ({"product_id": [True, False]}, "product_id", "has type bool but must be string"),
        ({"product_id": [["a"], ["b"]]}, "product_id", "must be string"),
        ({"galleries": [{"a": 1}, None]}, "galleries", "must be list"),
        ({"galleries": [[["g"]], None]}, "galleries", "must be list"),
        ({"seed": [True, None]}, "seed", "has type bool but must be int64"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_tables_without_the_columns_are_refused(
    tmp_path: Path, columns: dict[str, Any], column: str, words: str, strict: bool
) -> None:
    with pytest.raises(ManifestError, match=re.escape(words)) as caught:
        catalog(tmp_path, strict=strict, **columns)
    assert (caught.value.column, caught.value.row) == (column, None)


def test_a_catalog_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"row 1: https://x/a.jpg .*none of the 2 rows"):
        catalog(tmp_path, image_uri=["https://x/a.jpg", "https://x/b.jpg"])


def test_an_invalid_row_keeps_its_valid_values(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "product_id": ["a", None, "a", "x\x1b", "b"],
        "image_uri": ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"],
        "galleries": [None, ["g"], None, [], None],
        "price": ["1", "2", "3", "4", "x" * 200_000],
    }
    found = catalog(tmp_path, **columns)
    shown = [(p.row.product_id, p.row.galleries, p.extra) for p in found if p.problem]
    assert shown == [
        ("row-2", ["g"], {"price": "2"}),
        ("a", None, {"price": "3"}),
        ("x\N{REPLACEMENT CHARACTER}", None, {"price": "4"}),
        ("b", None, {}),
    ]
    digests = [photo.digest for photo in found if photo.problem]
    assert len(set(digests)) == 4
    again = catalog(tmp_path, **columns)
    assert [photo.digest for photo in again if photo.problem] == digests


def test_blank_rows_are_skipped(tmp_path: Path) -> None:
    found = catalog(tmp_path, product_id=["a", None, "", "b"], image_uri=["a", None, "", "b"])
    assert [(photo.row.product_id, photo.file_row) for photo in found] == [("a", 1), ("b", 4)]
    with pytest.raises(ManifestError, match="has no rows; add at least one"):
        catalog(tmp_path, product_id=[None, ""], image_uri=["", None])


def test_rows_are_counted_over_batches(tmp_path: Path) -> None:
    names = [f"p{i}" for i in range(12_000)]
    names[11_000] = "p3"
    found = catalog(tmp_path, product_id=names, image_uri=names)
    (problem,) = [str(photo.problem) for photo in found if photo.problem]
    assert "row 11001: 'p3' / 'main' is already in row 4" in problem


def test_ids_may_contain_slashes(tmp_path: Path) -> None:
    found = catalog(tmp_path, product_id=["AB/12", "../../x"], view=["a\\b", None])
    assert [(p.row.product_id, p.row.view) for p in found] == [
        ("AB/12", "a\\b"),
        ("../../x", "main"),
    ]


def test_ids_are_case_sensitive(tmp_path: Path) -> None:
    assert len(catalog(tmp_path, product_id=["a", "A"])) == 2


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    with pytest.raises(ManifestError, match="not found; give a Parquet, CSV"):
        list(reader.read_catalog(str(path)))
    for data in (b"", b"product_id,image_uri\na,b\n", b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(data)
        with pytest.raises(ManifestError, match="is not a Parquet file"):
            list(reader.read_catalog(str(path)))
    pq.write_table(pa.table({name: pa.array([], pa.string()) for name in GOOD}), path)
    with pytest.raises(ManifestError, match="has no rows"):
        list(reader.read_catalog(str(path)))


def test_galleries_are_sorted_and_selected(tmp_path: Path) -> None:
    found = galleries(tmp_path)
    assert list(found) == ["g", "h"]
    assert [row.style_id for row in found["g"].rows] == ["1", "2"]
    assert found["h"].rows[0].image_uri == "s3://bucket/h.png"
    assert list(galleries(tmp_path, only=("h",))) == ["h"]


@pytest.mark.parametrize(
    ("columns", "column", "row", "words"),
    [
        ({"weight": [1.0, 0.0, 1.0]}, "weight", 2, "greater than 0"),
        ({"weight": [1.0, float("nan"), 1.0]}, "weight", 2, "nan is invalid"),
        ({"weight": [1, -2, 1]}, "weight", 2, "greater than 0"),
        ({"style_id": ["1", "1", "1"]}, "style_id", 2, "'g' / '1' is already in row 1"),
        ({"weight": ["1", "x", "1"]}, "weight", 2, "'x' is not a number"),
        ({"gallery_id": ["g", "a\x1b", "h"]}, "gallery_id", 2, "control characters"),
        ({"valid_until": ["2030-01-01", "soon", ""]}, "valid_until", 2, "write it as 2030-01-31"),
        ({"image_uri": ["2.png", "gopher://x", "h.png"]}, "image_uri", 2, "not supported"),
    ],
)
def test_an_invalid_reference_affects_only_its_gallery(
    tmp_path: Path, columns: dict[str, Any], column: str, row: int, words: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        galleries(tmp_path, strict=True, **columns)
    assert (caught.value.column, caught.value.row) == (column, row)
    assert words in str(caught.value)
    found = galleries(tmp_path, **columns)
    problems = {name: str(gallery.problem) for name, gallery in found.items() if gallery.problem}
    assert list(problems.values()) == [str(caught.value)]
    assert "h" not in problems
    assert found["h"].rows


def test_manifests_without_a_usable_gallery_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="row 1: 'x' is not a number"):
        galleries(tmp_path, weight=["x", "1", "y"])
    with pytest.raises(ManifestError, match="row 3: 'y' is not a number"):
        galleries(tmp_path, only=("h",), weight=["1", "1", "y"])
    with pytest.raises(ManifestError, match=r"`gallery_id`, row 2: is empty \(null\)"):
        galleries(tmp_path, gallery_id=["g", None, "h"])


def test_dates_are_read_from_text_and_time(tmp_path: Path) -> None:
    times = pa.array([datetime(2030, 1, 31, 12), None, None], pa.timestamp("ns"))
    for column in (times, ["2030-01-31", "", None], ["2030-01-31 00:00:00", None, None]):
        (row,) = [r for r in galleries(tmp_path, valid_until=column)["g"].rows if r.valid_until]
        assert (row.style_id, row.valid_until) == ("2", date(2030, 1, 31))


def test_unknown_galleries_are_refused(tmp_path: Path) -> None:
    found = galleries(tmp_path)
    with pytest.raises(ManifestError, match=r"no gallery 'x' \(existing: g, h\)"):
        galleries(tmp_path, only=("x",))
    routed = catalog(tmp_path, galleries=[["g"], ["g", "x"]])
    with pytest.raises(ManifestError, match="`galleries`, row 2: names gallery 'x'"):
        list(reader.check_gallery_names(routed, found))


def test_a_style_in_two_manifests_is_refused(tmp_path: Path) -> None:
    galleries(tmp_path)
    uri = str(tmp_path / "g.parquet")
    with pytest.raises(ManifestError, match=r"'g' / '2' is already in row 1"):
        reader.read_galleries([uri, uri])
    other = tmp_path / "other.parquet"
    columns = {"gallery_id": ["g"], "style_id": ["2"], "image_uri": ["x.png"]}
    pq.write_table(pa.table(columns), other)
    found = reader.read_galleries([uri, str(other)])
    assert f"already in row 1 of {uri}" in str(found["g"].problem)
    assert found["h"].problem is None


def test_missing_licenses_are_listed(tmp_path: Path) -> None:
    until = pa.array([date(2026, 1, 1), None, date(2026, 1, 2)])
    found = galleries(tmp_path, license=["CC0", " ", "CC0"], valid_until=until)
    with pytest.raises(ManifestError) as caught:
        reader.check_licenses(found, "g.parquet", date(2026, 1, 2))
    assert "2 references" in str(caught.value)
    assert "g/1 (no license), g/2 (expired 2026-01-01)" in str(caught.value)


def test_manifests_are_read_from_s3(s3_env: S3Server, tmp_path: Path) -> None:
    catalog(tmp_path)
    s3_env.file("m").mkdir(exist_ok=True)
    s3_env.file("m/c.parquet").write_bytes((tmp_path / "c.parquet").read_bytes())
    found = list(reader.read_catalog(s3_env.uri("m/c.parquet")))
    assert found[1].row.image_uri == s3_env.uri("m/sub/b.jpg")
