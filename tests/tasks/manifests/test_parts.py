"""Folders of Parquet parts of all common writers are manifests."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.errors import ManifestError
from tasks.manifests import reader
from tasks.manifests.reader import Photo
from tests.s3_server import S3Server


def part(path: Path, *names: str, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"product_id": list(names), "image_uri": [f"{name}.png" for name in names], **columns}
    pq.write_table(pa.table(table), path)


def read(folder: Path) -> list[Photo]:
    return list(reader.read_catalog(str(folder)))


def ids(folder: Path) -> list[str]:
    return [photo.row.product_id for photo in read(folder)]


def test_parts_are_read_in_order_without_markers(tmp_path: Path) -> None:
    folder = tmp_path / "c.parquet"
    for number in (10, 2, 1):
        part(folder / f"part.{number}.parquet", f"p{number}")
    for aside in ("_SUCCESS", "_metadata", ".part.1.parquet.crc", "_temporary/0/x.parquet"):
        (folder / aside).parent.mkdir(parents=True, exist_ok=True)
        (folder / aside).write_bytes(b"")
    (folder / "readme.txt").write_text("hello")
    found = read(folder)
    assert [photo.row.product_id for photo in found] == ["p1", "p2", "p10"]
    assert [(photo.number, photo.file_row) for photo in found] == [(1, 1), (2, 1), (3, 1)]
    # beside the folder, as beside a file
    assert found[0].row.image_uri == str(tmp_path / "p1.png")


def test_parts_may_be_empty_or_of_other_types(tmp_path: Path) -> None:
    folder = tmp_path / "c.parquet"
    empty = pa.table({"product_id": pa.array([], pa.string()), "image_uri": pa.array([], "string")})
    folder.mkdir()
    pq.write_table(empty, folder / "part-0.parquet")
    part(folder / "part-1.parquet", "a", note=["x"])
    part(folder / "part-2.parquet", "12", product_id=[12])
    assert [(p.row.product_id, p.extra) for p in read(folder)] == [("a", {"note": "x"}), ("12", {})]
    for name in ("part-1", "part-2"):
        (folder / f"{name}.parquet").unlink()
    with pytest.raises(ManifestError, match="has no rows; add at least one"):
        read(folder)


def test_hive_partitions_become_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "product_id": ["a", "b", "c"],
            "image_uri": ["a", "b", "c"],
            "view": ["front", "back", "front"],
            "seed": [5, 5, 6],
            "season": ["SS/26", "SS/26", None],
        }
    )
    kind = ds.partitioning(
        pa.schema([("view", pa.string()), ("seed", pa.int64()), ("season", pa.string())]),
        flavor="hive",
    )
    ds.write_dataset(table, tmp_path / "c", format="parquet", partitioning=kind)
    found = {photo.row.product_id: photo for photo in read(tmp_path / "c")}
    assert [(p.row.view, p.row.seed, p.extra) for p in (found["a"], found["b"], found["c"])] == [
        ("front", 5, {"season": "SS/26"}),
        ("back", 5, {"season": "SS/26"}),
        ("front", 6, {}),
    ]
    part(tmp_path / "d/product_id=x/_k=v/0.parquet", "a")
    (photo,) = read(tmp_path / "d")
    assert (photo.row.product_id, photo.extra) == ("a", {"_k": "v"})


def test_parts_without_suffix_are_read(tmp_path: Path) -> None:
    for number in range(2):
        part(tmp_path / f"c/00000{number}_0", f"p{number}")
    (tmp_path / "c/_SUCCESS").touch()
    assert ids(tmp_path / "c") == ["p0", "p1"]


def test_galleries_may_be_folders(tmp_path: Path) -> None:
    for number, gallery in enumerate(("calm", "busy")):
        columns = {"style_id": ["1"], "image_uri": ["1.png"]}
        (tmp_path / f"g/gallery_id={gallery}").mkdir(parents=True)
        pq.write_table(pa.table(columns), tmp_path / f"g/gallery_id={gallery}/{number}.parquet")
    assert list(reader.read_galleries([str(tmp_path / "g")])) == ["busy", "calm"]


def test_problems_name_the_part(tmp_path: Path) -> None:
    part(tmp_path / "c/1.parquet", "a", "b")
    part(tmp_path / "c/2.parquet", "c", "b", seed=[1, 2])
    (problem,) = [photo.problem for photo in read(tmp_path / "c") if photo.problem]
    assert str(problem).startswith(f"{tmp_path}/c/2.parquet: column `product_id`, row 2: 'b'")
    assert f"already in row 2 of {tmp_path}/c/1.parquet" in str(problem)
    pq.write_table(pa.table({"product_id": ["d"]}), tmp_path / "c/3.parquet")
    with pytest.raises(ManifestError, match=r"3.parquet: column `image_uri`: is missing"):
        read(tmp_path / "c")
    (tmp_path / "c/3.parquet").write_bytes(b"")
    with pytest.raises(ManifestError, match=r"3.parquet: is not a Parquet file"):
        read(tmp_path / "c")


def test_other_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ManifestError, match="not found; give a Parquet, CSV or JSON file"):
        read(tmp_path / "none")
    part(tmp_path / "delta/1.parquet", "a")
    (tmp_path / "delta/_delta_log").mkdir()
    (tmp_path / "delta/_delta_log/0.json").touch()
    with pytest.raises(ManifestError, match=r"is a Delta table.*export it as Parquet"):
        read(tmp_path / "delta")
    part(tmp_path / "c/1.parquet", "a")
    part(tmp_path / "c/2.parquet", "b")
    size = (tmp_path / "c/1.parquet").stat().st_size
    monkeypatch.setattr("tasks.manifests.parts.MAX_BYTES", size + 1)
    with pytest.raises(ManifestError, match="split it into several"):
        read(tmp_path / "c")


def test_folders_are_read_from_s3(s3_env: S3Server, tmp_path: Path) -> None:
    for number in range(2):
        part(s3_env.file(f"m2/c.parquet/k=v/part-{number}.parquet"), f"p{number}")
    s3_env.file("m2/c.parquet/_SUCCESS").write_bytes(b"")
    found = list(reader.read_catalog(s3_env.uri("m2/c.parquet/")))
    assert [photo.row.product_id for photo in found] == ["p0", "p1"]
    assert found[1].row.image_uri == s3_env.uri("m2/p1.png")
    assert found[1].extra == {"k": "v"}


def test_photo_folders_and_text_files_are_manifests(tmp_path: Path) -> None:
    """They are read like `stylegallery manifest` reads them."""
    for path in ("photos/dress/front.png", "photos/dress/back.png", "refs/ink/a.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 64), "red").save(tmp_path / path)
    (tmp_path / "c.csv").write_text("product_id;image_uri\nbag;photos/dress/front.png\n")
    (tmp_path / "c.json").write_text('[{"product_id": 7, "image_uri": "photos/dress/back.png"}]')
    found = {}
    for name in ("photos", "c.csv", "c.json"):
        rows = [photo.row for photo in reader.read_catalog(str(tmp_path / name))]
        assert all(Path(row.image_uri).is_file() for row in rows)
        found[name] = [(row.product_id, row.view) for row in rows]
    assert found == {
        "photos": [("dress", "back"), ("dress", "front")],
        "c.csv": [("bag", "main")],
        "c.json": [("7", "main")],
    }
    galleries = reader.read_galleries([str(tmp_path / "refs")])
    assert [row.style_id for row in galleries["ink"].rows] == ["a"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.md").write_text("x")
    with pytest.raises(ManifestError, match="contains no images"):
        list(reader.read_catalog(str(tmp_path / "empty")))


def test_swapped_manifests_are_recognized(tmp_path: Path) -> None:
    catalog, gallery = str(tmp_path / "c.parquet"), str(tmp_path / "g.parquet")
    pq.write_table(pa.table({"product_id": ["a"], "image_uri": ["a.png"]}), catalog)
    styles = {"gallery_id": ["g"], "style_id": ["a"], "image_uri": ["a.png"]}
    pq.write_table(pa.table(styles), gallery)
    for read in (lambda: list(reader.read_catalog(gallery)), lambda: read_one(catalog)):
        with pytest.raises(ManifestError, match="are --catalog and --galleries swapped"):
            read()


def test_an_unnamed_column_does_not_mean_swapped_manifests(tmp_path: Path) -> None:
    pq.write_table(pa.table({"product_id": ["a"], "": ["x"]}), tmp_path / "c.parquet")
    with pytest.raises(ManifestError, match=r"`image_uri`: is missing .*; add it"):
        list(reader.read_catalog(str(tmp_path / "c.parquet")))


def read_one(uri: str) -> object:
    return reader.read_galleries([uri])
