"""Making URIs absolute, joining and resolving them, by the rules of each scheme."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import StorageError
from tasks.storage import uris
from tasks.storage.policy import SCHEMES_VARIABLE
from tests.sentences import violation

NAMES = st.text("a./\\:~%?#@ *[]-é\u0301", min_size=1, max_size=12)


def test_uris_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert uris.absolute("a/../b") == str(tmp_path / "b")
    assert uris.absolute("a//b/") == str(tmp_path / "a/b")
    assert uris.absolute("s3://bucket/a/") == "s3://bucket/a/"
    assert uris.absolute("S3://bucket/./a//../b") == "s3://bucket/./a//../b"
    assert uris.absolute("s3://bucket") == "s3://bucket"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a%20b/c", "/a b/c"),
        ("file:///photos/50%25.png", "/photos/50%.png"),
        ("file:///photos/50%.png", "/photos/50%.png"),
        ("file:///photos/q?x#1.png", "/photos/q?x#1.png"),
        ("file://localhost/a.png", "/a.png"),
        ("FILE:/a.png", "/a.png"),
        ("file:///caf%E9.png", "file:///caf%E9.png"),
        ("file:///a%0Ab%20c.png", "file:///a%0Ab%20c.png"),
    ],
)
def test_file_uris_are_percent_encoded(uri: str, path: str) -> None:
    assert uris.absolute(uri) == path
    assert uris.absolute(path) == path


def test_names_with_colons_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("red:1.png", "dress::blue.png", "mailto:x.png", "12:30.png", "red:/1.png"):
        assert uris.absolute(name) == str(tmp_path / name)
        assert uris.resolve(name, "s3://bucket/in/c.parquet") == f"s3://bucket/in/{name}"
        assert uris.absolute(str(tmp_path / name)) == str(tmp_path / name)
    for name in ("s3:bucket/a.png", "s3:/bucket/a.png", "file:a.png"):
        with pytest.raises(StorageError, match="lacks the slashes of a URI; write"):
            uris.absolute(name)
        assert uris.absolute(f"./{name}") == str(tmp_path / name)
    with pytest.raises(StorageError, match="chains schemes"):
        uris.absolute("simplecache::s3://bucket/a.png")
    monkeypatch.setenv(SCHEMES_VARIABLE, "gs")
    with pytest.raises(StorageError, match="write gs://"):
        uris.absolute("gs:bucket/a.png")


def test_a_tilde_is_expanded_unless_a_file_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert uris.absolute("~/a.png") == "/home/somebody/a.png"
    assert uris.absolute("~a.png") == str(tmp_path / "~a.png")
    (tmp_path / "~root").touch()
    assert uris.absolute("~root") == str(tmp_path / "~root")
    assert uris.resolve("~a.png", "/in/c.parquet") == "/in/~a.png"
    assert uris.resolve("~root/a.png", "s3://bucket/c.parquet") == "s3://bucket/~root/a.png"


@pytest.mark.parametrize(
    ("row", "manifest", "wanted"),
    [
        ("img/a.jpg", "s3://bucket/in/c.parquet", "s3://bucket/in/img/a.jpg"),
        ("../a.jpg", "s3://bucket/in/c.parquet", "s3://bucket/a.jpg"),
        ("../../../a.jpg", "s3://bucket/in/c.parquet", "s3://bucket/a.jpg"),
        ("x//y.png", "s3://bucket/in/c.parquet", "s3://bucket/in/x//y.png"),
        ("x/../y.png", "s3://bucket/a//b/c.parquet", "s3://bucket/a//b/y.png"),
        ("../y.png", "s3://bucket/a//c.parquet", "s3://bucket/a/y.png"),
        ("./y.png", "s3://bucket/dots/../c.parquet", "s3://bucket/dots/../y.png"),
        ("sub/", "s3://bucket/c.parquet", "s3://bucket/sub/"),
        ("q?versionId=1%#.png", "s3://bucket/c.parquet", "s3://bucket/q?versionId=1%#.png"),
        ("photos\\a.png", "s3://bucket/c.parquet", "s3://bucket/photos\\a.png"),
        ("s3://other/./a//b", "s3://bucket/c.parquet", "s3://other/./a//b"),
        ("s3://other/a.jpg", "/in/c.parquet", "s3://other/a.jpg"),
        ("x//y.png", "/in/c.parquet", "/in/x/y.png"),
        ("../y.png", "/in/c.parquet", "/y.png"),
        ("a.png", "file:///caf%E9/c.parquet", "file:///caf%E9/a.png"),
        # A row may name a local file, even in a manifest on an object store.
        ("/x/a.jpg", "s3://bucket/c.parquet", "/x/a.jpg"),
        ("file:///x/a.jpg", "s3://bucket/c.parquet", "/x/a.jpg"),
    ],
)
def test_rows_resolve_against_their_manifest(row: str, manifest: str, wanted: str) -> None:
    assert uris.resolve(row, manifest) == wanted
    assert uris.resolver(manifest)(row) == wanted


def test_access_points_are_buckets() -> None:
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/photos"
    assert uris.bucket_and_key(f"{arn}/a//b.png") == (arn, "a//b.png")
    assert uris.bucket_and_key("bucket//a/") == ("bucket", "/a/")
    assert uris.bucket_and_key("bucket") == ("bucket", "")
    for place in ("", "/a", "-x/a", "a b/c"):
        with pytest.raises(StorageError, match="names no bucket"):
            uris.bucket_and_key(place)


def test_folder_uris_keep_double_slashes() -> None:
    assert uris.folder_uri("s3://bucket/a/") == uris.folder_uri("s3://bucket/a") == "s3://bucket/a"
    assert uris.folder_uri("s3://bucket/") == "s3://bucket"
    assert uris.folder_uri("s3://bucket/a//") == "s3://bucket/a//"
    assert uris.folder_uri("/") == "/"
    assert uris.parent("s3://bucket/in/c.parquet") == "s3://bucket/in"
    assert uris.parent("s3://bucket/c.parquet") == uris.parent("s3://bucket") == "s3://bucket"
    assert uris.parent("s3://bucket/a//c.parquet") == "s3://bucket/a//"
    assert uris.parent("/c.parquet") == "/"
    assert uris.join("s3://bucket/a//", "/b", "c") == "s3://bucket/a///b/c"
    assert uris.join("/in", "/a.png") == "/in//a.png"


@given(NAMES, st.sampled_from(["s3://b/c.parquet", "s3://b/a//c.parquet", "s3://b/a/c.parquet"]))
def test_keys_survive_shortening_and_resolving(key: str, manifest: str) -> None:
    for uri in (f"s3://b/{key}", uris.join(uris.parent(manifest), key)):
        row = uris.shortener(manifest)(uri)
        assert uris.resolve(row, manifest) == uris.resolver(manifest)(row) == uri
        assert not row.startswith("/")


@given(NAMES)
def test_local_names_survive_shortening_and_resolving(name: str) -> None:
    uri = uris.local_uri(f"/none/{name}")
    assert uris.resolve(uris.shortener("/none/c.parquet")(uri), "/none/c.parquet") == uri


def test_other_spellings_of_existing_files_are_found(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    for name in (f"photos/{decomposed}.png", "photos/a.png", "b\\c.png", f"{composed}2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for row, found in {
        "photos\\a.png": "photos/a.png",
        ".\\photos\\a.png": "photos/a.png",
        f"photos\\{composed}.png": f"photos/{decomposed}.png",
        f"{decomposed}2.png": f"{composed}2.png",
        "b\\c.png": "b\\c.png",
        "photos\\none.png": "photos\\none.png",
    }.items():
        assert uris.resolve(row, str(tmp_path / "c.parquet")) == str(tmp_path / found)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("/in/photos\\a.png", "write / between folders"),
        ("/in/C:\\photos\\a.png", "a Windows path"),
        ("/in/C:/photos/a.png", "a Windows path"),
        ("/in/\\\\server\\share\\a.png", "a Windows path"),
        ("s3://bucket/\u00e9.png", "NFC and NFD"),
        ("/in/a%20b.png", "not percent-encoded"),
        ("file:///in/caf%E9.png", ""),
        ("/in/plain.png", ""),
        ("/in/50%.png", ""),
    ],
)
def test_spelling_hints(uri: str, words: str) -> None:
    hint = uris.spelling_hint(uri)
    assert words in hint
    assert bool(hint) == bool(words)
    assert not hint or not violation(hint)
