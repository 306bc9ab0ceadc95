"""CSV and JSON files of spreadsheets, databases and scripts."""

from datetime import date
from pathlib import Path

import pytest

from tasks.errors import ManifestError
from tasks.manifests import builder, reader
from tasks.manifests.reader import Galleries, Photo


def catalog(folder: Path, name: str, data: str | bytes) -> list[Photo]:
    """Build a manifest from a text, and read it."""
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    out = str(folder / "out.parquet")
    builder.write_manifest(builder.build_catalog(str(folder / name)), out)
    return list(reader.read_catalog(out))


def told_of(source: Path) -> list[str]:
    """Return the notes from building a catalog."""
    told: list[str] = []
    builder.build_catalog(str(source), told.append)
    return told


def galleries(folder: Path, name: str, data: str) -> Galleries:
    (folder / name).write_text(data)
    out = str(folder / "out.parquet")
    builder.write_manifest(builder.build_galleries(str(folder / name)), out)
    return reader.read_galleries([out])


HEAD = "product_id,image_uri\r\n"
UNICODE = "product_id\timage_uri\tTitel\r\nÄ1\tph/a.png\tschön\r\n"


@pytest.mark.parametrize(
    ("name", "data", "product", "extra"),
    [
        ("semi.csv", "product_id;image_uri;galleries\r\nA1;ph/a.png;busy\r\n", "A1", {}),
        ("tab.csv", "product_id\timage_uri\nA1\tph/a.png\n", "A1", {}),
        ("pipe.csv", "image_uri|product_id|x\nph/a.png|A1|a;b\n", "A1", {"x": "a;b"}),
        ("tab.tsv", "product_id\timage_uri\tx\nA1\tph/a.png\ta, b; c\n", "A1", {"x": "a, b; c"}),
        ("sep.csv", "sep=,\r\n" + HEAD + "A1,ph/a.png\r\n", "A1", {}),
        ("sep2.csv", '"SEP=;"\r\nproduct_id;image_uri\r\nA1;ph/a.png\r\n', "A1", {}),
        ("ghostrows.csv", HEAD + "A1,ph/a.png\r\n,\r\n , \r\n\r\n", "A1", {}),
        ("ghostcols.csv", "product_id,image_uri,,\r\nA1,ph/a.png,, \r\n", "A1", {}),
        ("longrow.csv", HEAD + "A1,ph/a.png,,,\r\n", "A1", {}),
        ("blanktop.csv", "\r\n,\r\n" + HEAD + "A1,ph/a.png\r\n", "A1", {}),
        ("headspace.csv", "Product_ID, image_uri\r\nA1, ph/a.png\r\n", "A1", {}),
        ("titles.csv", "Product ID;Image-URI;My Note\nA1;ph/a.png;x\n", "A1", {"My Note": "x"}),
        ("pad.csv", "product_id,image_uri,x\n A1 ,\tph/a.png\xa0, y \n", "A1", {"x": "y"}),
        ("slash.csv", HEAD + "AB/12,ph/a.png\n", "AB/12", {}),
        ("mac.csv", "product_id,image_uri\rA1,ph/a.png\r", "A1", {}),
        ("quoted.csv", 'product_id;image_uri\n"A;1";"ph/a.png"\n', "A;1", {}),
        ("quoted2.csv", '"product_id","image_uri","a;b;c"\nA1,ph/a.png,1\n', "A1", {"a;b;c": "1"}),
        ("no name.csv", "product_id,,image_uri\nA1,x,ph/a.png\n", "A1", {"unnamed column 2": "x"}),
        ("bom.csv", "\ufeff" + HEAD + "A1,ph/a.png\n", "A1", {}),
        ("excel.txt", UNICODE.encode("utf-16"), "Ä1", {"Titel": "schön"}),
        ("big.csv", b"\xfe\xff" + UNICODE.encode("utf-16-be"), "Ä1", {"Titel": "schön"}),
        ("nobom.csv", UNICODE.encode("utf-16-le"), "Ä1", {"Titel": "schön"}),
        ("j.json", '[{"product_id": "12", "image_uri": "ph/a.png"}]', "12", {}),
        ("lines.json", '{"product_id": 12, "image_uri": "ph/a.png"}\n', "12", {}),
        ("array.jsonl", '[\n{"product_id": 12.0, "image_uri": "ph/a.png"}\n]', "12", {}),
        ("one.json", '{\n "Product_ID": "A", "image_uri": "ph/a.png", "t": 1}', "A", {"t": "1"}),
    ],
)  # fmt: skip
def test_supported_spellings(
    tmp_path: Path, name: str, data: str | bytes, product: str, extra: dict[str, str]
) -> None:
    (photo,) = catalog(tmp_path, name, data)
    assert photo.problem is None
    assert photo.row.product_id == product
    assert photo.row.image_uri == str(tmp_path / "ph/a.png")
    assert photo.extra == extra


def test_decimal_commas_are_read_with_semicolons(tmp_path: Path) -> None:
    head = "gallery_id;style_id;image_uri;weight;valid_until\n"
    found = galleries(tmp_path, "g.csv", head + "g;1;a.png;0,5;2030-01-31\ng;2;b.png;;\n")
    rows = found["g"].rows
    assert [row.weight for row in rows] == [0.5, 1.0]
    assert rows[0].valid_until == date(2030, 1, 31)
    # Also if another row makes the column text.
    found = galleries(tmp_path, "g.csv", head + "g;1;a.png;0,5;\nh;2;b.png;heavy;\n")
    assert found["g"].rows[0].weight == 0.5
    assert "'heavy' is not a number" in str(found["h"].problem)
    head = "gallery_id,style_id,image_uri,weight\n"
    found = galleries(tmp_path, "g.csv", head + 'g,1,a.png,"0,5"\nh,2,b.png,2\n')
    assert "'0,5' is not a number" in str(found["g"].problem)


def test_invalid_rows_are_reported_and_kept(tmp_path: Path) -> None:
    text = "product_id,image_uri,seed\na,a.png,5\n\nb,b.png,x\n..,c.png,\nd,ftp://d,\na,e.png,\n"
    found = catalog(tmp_path, "c.csv", text)
    problems = [str(photo.problem) for photo in found if photo.problem]
    words = [
        "'x' is not a 64-bit integer",
        "'..' becomes",
        "ftp:",
        "'a' / 'main' is already in row 1",
    ]
    assert [word in problem for word, problem in zip(words, problems, strict=True)] == [True] * 4
    assert (found[0].row.seed, found[0].row.image_uri) == (5, str(tmp_path / "a.png"))
    rows = [f"c.csv: column `{c}`, row {n}" for c, n in
            (("seed", 3), ("product_id", 4), ("image_uri", 5), ("product_id", 6))]  # fmt: skip
    told = told_of(tmp_path / "c.csv")
    assert [row in said for row, said in zip(rows, told, strict=True)] == [True] * 4
    with pytest.raises(ManifestError, match=r"c\.csv: column `seed`, row 3: .*rows 4, 5, 6\)"):
        builder.build_catalog(str(tmp_path / "c.csv"), strict=True)


def test_only_the_first_invalid_rows_are_reported(tmp_path: Path) -> None:
    rows = "".join(f"p{i},p.png,x\n" for i in range(30))
    (tmp_path / "c.csv").write_text(f"product_id,image_uri,seed\na,a.png,1\n{rows}")
    told = told_of(tmp_path / "c.csv")
    assert len(told) == 21
    assert told[-1] == "10 more rows cannot be used"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "c.csv",
            HEAD + "a,b\na,b,c\nd,e\nf,g,h\ni,j,k\n",
            r"row 2: has more .*: rows 4, 5\)",
        ),
        ("c.csv", "product_id;image_uri\na;b;c\n", "put text that contains semicolons into quotes"),
        (
            "c.jsonl",
            '{"product_id": 1, "image_uri": "a"}\n{\n[1]\n',
            r"2: is not valid JSON .*row 3",
        ),
        ("c.jsonl", '{"product_id": "\\ud800", "image_uri": "a"}\n', "row 1: .* lone surrogate"),
        ("c.json", '[{"product_id": 1}, 2]', "row 2: is not a JSON object"),
        ("c.json", '[{"product_id": 1}', "row 1: is not valid JSON"),
        ("c.json", "{}", "has no rows"),
        (
            "c.json",
            '{\n"product_id": {"0": "A"}, "image_uri": {"0": "a"}}',
            "row 1: .* is not text",
        ),
        ("c.csv", "Product_ID,product id,image_uri\na,b,c\n", "more than once; keep one"),
    ],
)
def test_rows_that_do_not_fit_into_a_table_are_refused(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    with pytest.raises(ManifestError, match=words):
        catalog(tmp_path, name, text)
