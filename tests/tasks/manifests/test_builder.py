"""Building manifests from folders, CSV and JSON Lines."""

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import ManifestError
from tasks.manifests import builder, reader
from tests.s3_server import S3Server
from tests.tasks.places import at


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_a_folder_becomes_a_catalog(tmp_path: Path) -> None:
    names = ("b.jpg", "a/1.PNG", "a-1.webp", "a/1.jpg", "a/notes.txt", ".hidden/x.jpg", "ü x.tif")
    touch(tmp_path, *names)
    out = str(tmp_path / "c.parquet")
    table = builder.build_catalog(str(tmp_path))
    assert table.equals(builder.build_catalog(str(tmp_path)))
    assert set(table["image_uri"].to_pylist()) == {
        str(tmp_path / name)
        for name in names
        if name.endswith(("jpg", "PNG", "webp", "tif")) and not name.startswith(".")
    }
    builder.write_manifest(table, out)
    photos = list(reader.read_catalog(out))
    ids = [photo.row.product_id for photo in photos]
    assert sorted(ids) == ["a", "a", "a-1", "b", "ü x"]
    assert sorted(photo.row.view for photo in photos) == ["1-jpg", "1-png", "main", "main", "main"]
    assert all(at(photo.row.image_uri).exists() for photo in photos)


def test_a_manifest_moves_with_its_images(tmp_path: Path) -> None:
    home = touch(tmp_path / "home", "img/a.jpg")
    builder.write_manifest(builder.build_catalog(str(home / "img")), str(home / "c.parquet"))
    home.rename(tmp_path / "moved")
    (photo,) = list(reader.read_catalog(str(tmp_path / "moved/c.parquet")))
    assert photo.row.image_uri == str(tmp_path / "moved/img/a.jpg")
    elsewhere = str(tmp_path / "other/c.parquet")
    builder.write_manifest(builder.build_catalog(str(tmp_path / "moved")), elsewhere)
    (photo,) = list(reader.read_catalog(elsewhere))
    assert photo.row.image_uri == str(tmp_path / "moved/img/a.jpg")


def test_sub_folders_become_galleries(tmp_path: Path) -> None:
    touch(tmp_path / "styles", "Monet/1.jpg", "Monet/late/2.jpg", "Kilim/1.png", "Kilim/1.jpg")
    out = str(tmp_path / "g.parquet")
    builder.write_manifest(builder.build_galleries(str(tmp_path / "styles")), out)
    found = reader.read_galleries([out])
    assert {name: [row.style_id for row in own.rows] for name, own in found.items()} == {
        "Kilim": ["1-jpg", "1-png"],
        "Monet": ["1", "late-2"],
    }


def test_a_flat_folder_is_one_gallery(tmp_path: Path) -> None:
    table = builder.build_galleries(str(touch(tmp_path / "kilim", "a.jpg", "b.jpg")))
    assert set(table["gallery_id"].to_pylist()) == {"kilim"}


def test_a_csv_becomes_a_catalog(tmp_path: Path) -> None:
    source = tmp_path / "list" / "c.csv"
    source.parent.mkdir()
    source.write_text(
        "\ufeffproduct_id,image_uri,galleries,seed,price\n"
        '007,img/a.jpg,"monet; kilim",5,1.50\n'
        '"a,b",/x/b.jpg,,,\n',
        encoding="utf-8",
    )
    out = str(tmp_path / "c.parquet")
    builder.write_manifest(builder.build_catalog(str(source)), out)
    one, two = list(reader.read_catalog(out))
    assert (one.row.product_id, one.row.galleries, one.row.seed) == ("007", ["monet", "kilim"], 5)
    assert one.row.image_uri == str(tmp_path / "list/img/a.jpg")
    assert one.extra == {"price": "1.50"}
    assert (two.row.product_id, two.row.galleries, two.extra) == ("a,b", None, {})


def test_paths_of_a_csv_from_windows_are_found(tmp_path: Path) -> None:
    home = touch(tmp_path, "photos/a.png", "b\\c.png")
    rows = "a,photos\\a.png\nb,.\\photos\\a.png\nc,b\\c.png\nd,red:1.png\n"
    (home / "c.csv").write_text(f"product_id,image_uri\n{rows}")
    found = builder.build_catalog(str(home / "c.csv"))["image_uri"].to_pylist()
    names = ("photos/a.png", "photos/a.png", "b\\c.png", "red:1.png")
    assert found == [str(home / name) for name in names]


def test_json_lines_become_galleries(tmp_path: Path) -> None:
    source = tmp_path / "g.jsonl"
    source.write_text(
        '{"gallery_id": "g", "style_id": "a", "image_uri": "a.jpg", "weight": 2, '
        '"valid_until": "2030-01-31"}\n\n'
        '{"gallery_id": "g", "style_id": "b", "image_uri": "s3://bucket/b.jpg"}\n'
    )
    out = str(tmp_path / "g.parquet")
    builder.write_manifest(builder.build_galleries(str(source)), out)
    one, two = reader.read_galleries([out])["g"].rows
    assert (one.weight, str(one.valid_until)) == (2.0, "2030-01-31")
    assert (two.weight, two.image_uri) == (1.0, "s3://bucket/b.jpg")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.csv", "product_id,image\na,b\n", "column `image_uri`: is missing"),
        ("c.csv", "product_id,image_uri\n", "has no rows"),
        ("c.csv", "product_id,image_uri\na,b,c\n", "row 1: has more cells"),
        ("c.csv", "product_id,image_uri\na,b\na,c\n", "row 2: 'a' / 'main' is already in row 1"),
        (
            "c.csv",
            "product_id,image_uri,seed\na,b,x\n",
            "row 1: 'x' is not a 64-bit integer",
        ),
        ("c.csv", "product_id,image_uri\n..,b\n", "row 1: '..' becomes a folder"),
        ("c.csv", "product_id,image_uri\na,ftp://x\n", "`image_uri`, row 1: ftp://x starts with"),
        ("c.jsonl", "{", "row 1: is not valid JSON"),
        ("c.jsonl", "[1]", "row 1: is not a JSON object"),
        ("c.jsonl", '{"product_id": "a", "image_uri": null}', "`image_uri`, row 1: is empty"),
    ],
)
def test_invalid_text_files_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError) as caught:
        builder.build_catalog(str(tmp_path / name), strict=True)
    assert words in str(caught.value)


@pytest.mark.parametrize("make", [builder.build_catalog, builder.build_galleries])
def test_a_folder_without_images_is_refused(tmp_path: Path, make: Any) -> None:
    with pytest.raises(ManifestError, match="contains no images"):
        make(str(touch(tmp_path, "a.txt")))
    with pytest.raises(ManifestError, match="not found"):
        make(str(tmp_path / "none.csv"))


@pytest.mark.parametrize("make", [builder.build_catalog, builder.build_galleries])
def test_what_a_folder_leaves_out_is_reported(tmp_path: Path, make: Any) -> None:
    for name in (b"caf\xe9.png", b"a.jpg", b"a.png", b"b.heic"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(b"x")
    told: list[str] = []
    assert make(str(tmp_path), told.append).num_rows == 3
    assert told == [
        "ids differ from file names: 2 images (a.jpg, a.png); names that would give the same id "
        "get a suffix",
        "named by file:// URI: 1 image (caf%E9.png); the name is not UTF-8 text; rename the file "
        "if manifest and images are to be moved together",
        "left out: 1 picture of an unsupported format (b.heic); export as JPEG or PNG",
    ]


def test_unusual_names_survive_moving_the_manifest(tmp_path: Path) -> None:
    names = ("red:1.png", "dress::blue.png", "~a.png", "~/b.png", "s3:c.png", "file:/d.png")
    names += ("e%20f.png", "back\\slash.png", "e\u0301.png", "\u00e9.png", "http:/g.png")
    home = touch(tmp_path / "home", *names)
    table = builder.build_catalog(str(home))
    builder.write_manifest(table, str(home / "c.parquet"))
    moved = home.rename(tmp_path / "moved")
    rows = [photo.row for photo in reader.read_catalog(str(moved / "c.parquet"))]
    assert {row.image_uri for row in rows} == {str(moved / name) for name in names}
    assert all(at(row.image_uri).exists() for row in rows)


def test_text_files_above_the_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.manifests.text.MAX_BYTES", 10)
    (tmp_path / "c.csv").write_text("product_id,image_uri\na,b\n")
    with pytest.raises(ManifestError, match="split it, or write Parquet"):
        builder.build_catalog(str(tmp_path / "c.csv"))
    monkeypatch.setattr("tasks.manifests.parts.MAX_BYTES", 10)
    (tmp_path / "c.parquet").write_bytes(bytes(20))
    with pytest.raises(ManifestError, match="split it into several"):
        list(reader.read_catalog(str(tmp_path / "c.parquet")))


@pytest.mark.parametrize("folder", ["shop/img", "shop//img/", "shop/img//"])
def test_a_prefix_on_s3_becomes_a_catalog(moto_bucket: str, folder: str) -> None:
    """The catalog has exactly the keys, and never a local file."""
    names = ["a.png", "b//c.png", "d/e.png", "~f.png", "../g.png", "h/./i.png", "j::k:l.png"]
    names += ["/rooted.png", "v?versionId=1.png", "50%25.png", "#1.png", "back\\slash.png"]
    place = f"{moto_bucket}/{folder}"
    uris = {(at(place) / name).uri for name in names}
    for uri in uris:
        at(uri).write_bytes(uri.encode())
    for out in (moto_bucket, place, f"{place}/d", "s3://moto"):
        catalog = at(out) / "c.parquet"
        table = builder.build_catalog(place)
        builder.write_manifest(table, catalog.uri)
        rows = [p.row for p in reader.read_catalog(catalog.uri)]
        assert {row.image_uri for row in rows} == uris
        catalog.delete()
    assert all(at(row.image_uri).read_bytes() == row.image_uri.encode() for row in rows)


def test_a_bucket_becomes_a_catalog_and_a_gallery(s3_env: S3Server) -> None:
    (s3_env.root / "flat").mkdir()
    for name in ("dress/front.png", "shirt.jpg"):
        at(f"s3://flat/{name}").write_bytes(b"x")
    catalog = builder.build_catalog("s3://flat")
    assert catalog.to_pylist() == [
        {"product_id": "dress", "view": "front", "image_uri": "s3://flat/dress/front.png"},
        {"product_id": "shirt", "view": "main", "image_uri": "s3://flat/shirt.jpg"},
    ]
    gallery = builder.build_galleries("s3://flat/")
    assert gallery["gallery_id"].to_pylist() == ["dress", "flat"]
    builder.write_manifest(catalog, "s3://flat/c.parquet")
    assert [p.row.image_uri for p in reader.read_catalog("s3://flat/c.parquet")] == (
        catalog["image_uri"].to_pylist()
    )
