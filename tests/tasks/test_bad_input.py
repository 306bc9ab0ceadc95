"""Bad input of every kind ends as one row or one refusal, in a sentence that says what to do."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from stylegallery.wording import one_line, shown
from tasks.bench import Bench
from tasks.errors import ManifestError, StorageError
from tests.sentences import complaint
from tests.tasks import bad_input as bad
from tests.tasks import pictures
from tests.tasks.bad_input import REJECTED, SECRET, Kind, Scene

WHOLE = pictures.encoded(pictures.noise(400, 300), "JPEG")
WIDE = pictures.encoded(pictures.noise(400, 300), "WEBP")
MANY = np.random.default_rng(1).integers(0, 255, (64, 48, 3), dtype=np.uint8)
PIN = {"region": 0, "style_id": "s", "style_region": 0}


def pins(**changes: object) -> bytes:
    return json.dumps({"matches": [{**PIN, **changes}]}).encode()


NO_FILE = ("photo.jpg is a device, a pipe or the like", "give a regular file")
IMAGES = {
    "missing": bad.photo(None, "not found; check image_uri"),
    "empty": bad.photo(b"", "not an image", "export it"),
    "text": bad.photo(b"I am a photo, honest", "not an image"),
    "html": bad.photo(b"<!doctype html><title>404 Not Found</title>", "not an image"),
    "svg": bad.photo(b'<svg xmlns="http://www.w3.org/2000/svg"/>', "known: AVIF, BMP"),
    "pdf": bad.photo(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", "export it as one of these"),
    "postscript": bad.photo(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "half a jpeg": bad.photo(WHOLE[: len(WHOLE) // 2], "cut short", "export it again"),
    "half a png": bad.photo(bad.PHOTO[: len(bad.PHOTO) // 2], "cut short"),
    "half a webp": bad.photo(WIDE[: len(WIDE) // 2], "export it"),
    "wrong checksum": bad.photo(bad.wrong_checksum(), "damaged", "export it again"),
    "bomb": bad.photo(pictures.png_bomb(), "million pixels", "make it smaller"),
    "only a huge header": bad.photo(
        pictures.huge_header(bad.PHOTO), "million pixels", "make it smaller"
    ),
    "1x1": bad.photo(pictures.encoded(MANY[:1, :1], "PNG"), "1x1 px", "at least 16 px"),
    "narrow": bad.photo(pictures.encoded(pictures.noise(600, 20), "PNG"), "20x600", "at most 16"),
    "animated webp": bad.photo(pictures.animated_webp(), "animated; save one frame"),
    "animated gif": bad.photo(
        pictures.encoded(
            pictures.noise(), "GIF", save_all=True, append_images=[Image.fromarray(MANY)]
        ),
        "animated; save one frame",
    ),
    "not a number": bad.photo(bad.not_numbers(), "no numbers", "export it again"),
    "a folder": Kind(REJECTED, ("photo.jpg", "not found; check image_uri"), bad.folder),
    "backslashes": bad.other_spelling("in\\a.png", "write / between folders"),
    "a drive": bad.other_spelling("C:\\a.png", "a path of Windows"),
    "other accents": bad.other_spelling("\u00e9.png", "NFC and NFD are two names"),
    "a path from a URL": bad.other_spelling("a%20b.png", "write %20 as a space"),
    "no permission": Kind(REJECTED, ("no permission", "check image_uri"), bad.unreadable),
    "too many bytes": Kind(REJECTED, ("more than the limit of 1 MB",), bad.too_large),
    "a pipe": Kind(REJECTED, NO_FILE, bad.special(bad.pipe)),
    "a socket": Kind(REJECTED, NO_FILE, bad.special(bad.socket_file)),
    "a device behind a link": Kind(REJECTED, NO_FILE, bad.special(bad.link_to_device)),
    "a reference of text": bad.reference(b"no picture", "style.png is not an image"),
    "a reference of 1x1": bad.reference(pictures.encoded(MANY[:1, :1], "PNG"), "at least 16 px"),
}
MASKS = {
    "mask of another size": bad.beside(
        "mask", pictures.encoded(pictures.noise(20, 20), "PNG", mode="1"), "20x20", "same size"
    ),
    "mask of text": bad.beside("mask", b"no mask", "mask.file is not an image"),
    "mask of many colours": bad.beside(
        "mask", pictures.encoded(MANY, "PNG"), "mask.file", "at most 224", "without smoothing"
    ),
    "animated mask": bad.beside("mask", pictures.animated_webp(), "save one frame"),
    "half a mask": bad.beside("mask", bad.PHOTO[:200], "mask.file", "export it"),
    "protection of another size": bad.beside(
        "protect", pictures.encoded(pictures.noise(20, 20)[..., 0].copy(), "PNG"), "same size"
    ),
    "protection of text": bad.beside("protect", b"%PDF", "protect.file is not an image"),
    "protection bomb": bad.beside("protect", pictures.png_bomb(), "million pixels"),
}
PINS = {
    "pins that are no JSON": bad.beside("routing", b"{", "routing.file", "it holds JSON such as"),
    "pins in a list": bad.beside("routing", b"[1]", "no list `matches`"),
    "pins of a number": bad.beside("routing", b'{"matches": 3}', "no list `matches`"),
    "a pin that is text": bad.beside("routing", b'{"matches": ["a"]}', "entry 0 of `matches`"),
    "a pin without region": bad.beside(
        "routing", b'{"matches": [{"style_id": "s"}]}', "region is missing"
    ),
    "a pin of NaN": bad.beside("routing", pins(region=float("nan")), "region is nan"),
    "a pin of infinity": bad.beside("routing", pins(style_region=float("inf")), "is inf"),
    "a pin of half a region": bad.beside("routing", pins(region=0.5), "region is 0.5"),
    "an unknown region": bad.beside("routing", pins(region=99), "region 99", "has regions 0 to"),
    "a huge region": bad.beside("routing", pins(region=10**4000), "its region map shows"),
    "an unknown style": bad.beside("routing", pins(style_id="x\x1b"), "'x\\x1b'", "it has s."),
    "pins nested deep": bad.beside("routing", b"[" * 100_000, "nested too deep"),
    "pins of megabytes": bad.beside("routing", b" " * 2**21, "keep one entry for each region"),
    "pins that are no text": bad.beside("routing", b"\xff\xfe\xfa", "it holds JSON such as"),
}
DATES = pa.array([date(2020, 1, 1), None])
DATES_PAST = pa.array([2**31 - 1, 0], pa.int32()).cast(pa.date32())
CATALOGS = {
    "missing catalog": bad.catalog_bytes(None, "not found; give a Parquet, CSV"),
    "empty catalog": bad.catalog_bytes(b"", "is no Parquet file", "`stylegallery manifest` makes"),
    "catalog of CSV": bad.catalog_bytes(b"product_id,image_uri\na,b\n", "is no Parquet file"),
    "half a catalog": bad.catalog_bytes(bad.good_parquet()[:300], "is no Parquet file"),
    "garbage footer": bad.catalog_bytes(
        bad.good_parquet()[:-60] + b"\xff" * 52 + bad.good_parquet()[-8:], "is no Parquet file"
    ),
    "encrypted catalog": bad.catalog_bytes(
        b"PARE" + bytes(99) + b"PARE", "is encrypted", "without encryption"
    ),
    "bomb of text": Kind(ManifestError, ("column `story`, row 1", "shorten it"), bad.bomb),
    "no such column": bad.catalog("column `image_uri`", "is missing", "add it", image_uri=None),
    "wrong type": bad.catalog("column `product_id`", "must be string", product_id=[True, False]),
    "column twice": Kind(
        ManifestError, ("column `image_uri`", "more than once; keep one"), bad.twice_the_column
    ),
    "too many columns": bad.catalog(
        "at most 1000", "leave out some", **{f"c{i}": ["", ""] for i in range(1001)}
    ),
    "key twice": bad.catalog("row 2", "already in row 1; make it unique", product_id=["a", "a"]),
    "null": bad.catalog("row 2", "is empty (null); give it a value", product_id=["a", None]),
    "empty id": bad.catalog("row 2", "is empty; give it a value", product_id=["a", ""]),
    "id of dots": bad.catalog("row 1", "not only dots", product_id=["..", "b"]),
    "id with ANSI": bad.catalog("row 1", "'\\x1b[31mred'", product_id=["\x1b[31mred", "b"]),
    "id with C1": bad.catalog("row 1", "control character", product_id=["\x9b31m", "b"]),
    "id turned around": bad.catalog("row 2", "'\\u202egpj'", product_id=["a", "\u202egpj"]),
    "id with a line": bad.catalog("row 2", "'b\\nc'", view=["a", "b\nc"]),
    "id too long": bad.catalog("row 1", "too long for a file name", view=["x" * 300, "b"]),
    "no gallery": bad.catalog("`galleries`, row 1", "leave it empty", galleries=[[], None]),
    "gallery null": bad.catalog("`galleries`, row 1", "remove it", galleries=[["g", None], None]),
    "unknown gallery": Kind(
        ManifestError,
        ("`galleries`, row 2", "'\\x1b[31m'", "(there: g)", "correct the name"),
        bad.unknown_gallery,
    ),
    "negative seed": bad.catalog("`seed`, row 1", "-1 is refused", "correct it", seed=[-1, 2]),
    "seed too large": bad.catalog(
        "`seed`, row 2", "is no whole number", seed=pa.array([1, 2**63], pa.uint64())
    ),
    "no rows": bad.catalog("has no rows; add at least one", product_id=[], image_uri=[]),
    "huge text": bad.catalog("`note`, row 2", "leave the column out", note=["", "x" * 2_000_000]),
    "huge text in lists": bad.catalog("`tags`, row 1", "shorten it", tags=[["x" * 10**6], []]),
    "column with a line": bad.catalog(
        "columns there", "add it", **{"image_uri": None, "a\n\x1b[2J\u202e": ["x", "y"]}
    ),
}
GALLERIES = {
    "weight 0": bad.gallery("`weight`, row 2", "greater than 0", weight=[1.0, 0.0]),
    "weight NaN": bad.gallery("`weight`, row 1", "nan is refused", weight=[float("nan"), 1.0]),
    "weight infinite": bad.gallery("`weight`, row 2", "inf is refused", weight=[1, float("inf")]),
    "date of words": bad.gallery("`valid_until`, row 2", "2030-01-31", valid_until=["", "soon"]),
    "date past all years": bad.gallery("`valid_until`, row 1", "date", valid_until=DATES_PAST),
    "style twice": bad.gallery("`style_id`, row 2", "already in row 1", style_id=["1", "1"]),
    "licence too long": bad.gallery("`license`, row 1", "shorten it", license=["x" * 3000, ""]),
    "licences lapsed": bad.gallery(
        "g/1 (expired 2020-01-01)", "add their licences", license=["CC0"] * 2, valid_until=DATES
    ),
}
HEAD = "product_id,image_uri,seed\n"
TEXTS = {
    "CSV without rows": bad.text("c.csv", HEAD, "has no rows; add at least one"),
    "CSV of Latin-1": bad.text("c.csv", HEAD.encode() + b"\xe9,a,1\n", "save it as UTF-8"),
    "CSV with a column twice": bad.text("c.csv", "a,b,a\n1,2,3\n", "`a`", "keep one"),
    "CSV with cells too many": bad.text("c.csv", HEAD + "a,b,1,2\n", "row 1", "into quotes"),
    "CSV with an open quote": bad.text("c.csv", HEAD + 'a,"b,1\n', "is no CSV file", "correct it"),
    "CSV with a seed of text": bad.text(
        "c.csv", HEAD + "a,b,x\n", "row 1", "'x' is no whole number"
    ),
    "CSV with a seed too large": bad.text(
        "c.csv", HEAD + f"a,b,{2**70}\n", "row 1", "is no whole number"
    ),
    "JSON cut": bad.text("c.jsonl", "{", "row 1", "write one object a line"),
    "JSON list": bad.text("c.jsonl", "[1]", "row 1", "one object for each row"),
    "JSON nested deep": bad.text("c.jsonl", "[" * 100_000, "row 1", "one flat object"),
    "JSON half character": bad.text(
        "c.jsonl",
        '{"product_id": "\\ud800", "image_uri": "a"}',
        "row 1",
        "half of a character; correct it",
    ),
    "JSON seed infinite": bad.text(
        "c.jsonl", '{"product_id": "a", "image_uri": "a", "seed": Infinity}', "row 1", "correct it"
    ),
}
URIS = {
    "https": bad.uri("https://shop.example/a.jpg", "copy the file to a local path or s3://"),
    "metadata": bad.uri("http://169.254.169.254/latest/meta-data", "not supported", "copy"),
    "ftp": bad.uri("ftp://shop.example/a.jpg", "use a local path, file:// or s3://"),
    "gs": bad.uri("gs://bucket/a.jpg", "STYLEGALLERY_ALLOWED_SCHEMES"),
    "file with host": bad.uri("file://host/a.jpg", "write file:///absolute/path"),
    "s3 without bucket": bad.uri("s3:///a.jpg", "write s3://BUCKET/KEY"),
    "password": bad.uri(f"s3://somebody:{SECRET}@bucket/a.jpg", "remove it"),
    "signature": bad.uri(f"https://b.example/a?X-Amz-Signature={SECRET}", "not supported"),
    "chain": bad.uri("simplecache::s3://bucket/a.jpg", "chains schemes", "not supported"),
    "uri with a line": bad.uri("a\nb.jpg", "control character", "write the path without it"),
    "uri with NUL": bad.uri("a\0b.jpg", "control character"),
    "uri with ANSI": bad.uri("s3://bucket/\x1b[2J.jpg", "control character"),
    "uri turned around": bad.uri("\u202egpj.exe", "control character"),
    "uri too long": bad.uri("x" * 9000, "so it is no path; correct it"),
    "output on https": bad.place("https://x.example/out", "not supported"),
    "output with password": bad.place(f"s3://k:{SECRET}@bucket/out", "credentials come from"),
}
PARAMETERS = {
    "unknown flag": bad.flag("stepz=3", "`stepz` is no style parameter", "did you mean `steps`"),
    "flag without value": bad.flag("steps", "write it as name=value"),
    "flag of text": bad.flag("steps=many", "params.steps", "valid integer", "'many'"),
    "flag out of range": bad.flag("steps=0", "params.steps", "greater than or equal to 1", "got 0"),
    "flag NaN": bad.flag("content_weight=NaN", "params.content_weight", "got nan"),
    "flag infinite": bad.flag("semantic_weight=Infinity", "params.semantic_weight", "finite"),
    "deadline infinite": bad.variable("STYLEGALLERY_ITEM_DEADLINE", "inf", "pool.item_deadline"),
    "flag of many digits": bad.flag("steps=" + "9" * 5000, "params.steps", "exceeded maximum size"),
    "flag nested deep": bad.flag("steps=" + "[" * 100_000, "params.steps", "valid integer"),
    "flag with ANSI": bad.flag("\x1b[2Jsteps=3", "is no style parameter"),
    "method unknown": bad.flag("method=magic", "params.method", "'stylegallery'", "'magic'"),
    "methods that do not go": bad.flag("schedule=lcm", "params", "sampler"),
    "unknown variable": bad.variable("STYLEGALLERY_STEP", "3", "did you mean `steps`"),
    "variable of text": bad.variable("STYLEGALLERY_ACTORS", "two", "pool.actors", "'two'"),
    "password in a variable": bad.variable(
        "STYLEGALLERY_CATALOG", f"http://me:{SECRET}@x/c", "catalog", "neither a local path nor"
    ),
    "TOML broken": bad.toml("a = ", "run.toml is not TOML", "correct it"),
    "TOML of bytes": bad.toml(b"\xff\xfe", "run.toml is not TOML"),
    "TOML nested deep": bad.toml("a = " + "[" * 100_000, "nested too deep"),
    "TOML too large": bad.toml(" " * 2**21, "run.toml has more than 1 MB"),
    "TOML key unknown": bad.toml("[pool]\nactor = 3", "unknown key `pool.actor`", "`actors`"),
    "TOML key with ANSI": bad.toml('"\\u001b[2J" = 3', "unknown key"),
    "TOML section as number": bad.toml("pool = 3", "write [pool] above its settings"),
    "TOML list as text": bad.toml('galleries = "g"', "galleries", "valid list"),
    "TOML number too large": bad.toml(f"[params]\nsteps = 0x{'f' * 9000}", "params.steps"),
    "preset unknown": bad.toml('preset = "best"', "preset 'best' is none of quality, balanced"),
    "preset a list": bad.toml("preset = []", "preset [] is none of quality, balanced"),
    "form cut": bad.form("{", "write the settings as one JSON object"),
    "form with more": bad.form({"colour": 1}, "colour", "no such setting"),
    "form of wrong type": bad.form({"limit": "few"}, "limit", "valid integer"),
    "form without catalog": bad.form("{}", "not given: catalog, galleries, output"),
    "GPUs on a CPU": bad.plan({"device": "cpu", "gpus_per_actor": 1}, "leave the device at auto"),
}
KINDS = {**IMAGES, **MASKS, **PINS, **CATALOGS, **GALLERIES, **TEXTS, **URIS, **PARAMETERS}


@pytest.fixture
def scene(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(bench, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", KINDS)
def test_bad_input_ends_in_one_sentence(scene: Scene, name: str) -> None:
    kind = KINDS[name]
    if kind.end == REJECTED:
        said = kind.happen(scene)
    else:
        assert isinstance(kind.end, type)
        with pytest.raises(kind.end) as caught:
            kind.happen(scene)
        said = str(caught.value)
    for words in kind.words:
        assert words in said
    assert SECRET not in said
    assert not complaint(said, str(scene.folder))


def test_there_are_at_least_forty_kinds_and_of_every_sort() -> None:
    sorts = (IMAGES, MASKS, PINS, CATALOGS, GALLERIES, TEXTS, URIS, PARAMETERS)
    assert len(KINDS) == sum(map(len, sorts))  # no name is there twice
    assert len(KINDS) >= 40
    assert all(len(sort) >= 8 for sort in sorts)
    assert {kind.end for kind in URIS.values()} == {ManifestError, StorageError}


def test_values_from_elsewhere_are_shown_in_one_clean_line() -> None:
    hostile = "a\n\x1b[31m\u202e\ud800" + "x" * 10_000
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (hostile, deep, 16**6000, {"a": hostile}, b"\xff" * 1000):
        assert not complaint(shown(value))
    assert not complaint(one_line(hostile, 300))
    assert one_line("plain\tenough") == "plain enough"
    assert "\u200d" in one_line("\U0001f469\u200d\U0001f52c")  # joiners make one sign of several
