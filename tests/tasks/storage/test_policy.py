"""Which URIs may be opened, and how messages print them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import storage
from tasks.errors import StorageError
from tasks.storage.policy import ROOTS_VARIABLE, SCHEMES_VARIABLE, printable
from tasks.storage.redaction import redact
from tests.tasks.places import at

REFUSED = {
    "http": ("http://shop.example/a.jpg", "must not send requests to other hosts"),
    "metadata": ("http://169.254.169.254/latest/meta-data", "not supported"),
    "other": ("gs://bucket/a.jpg", SCHEMES_VARIABLE),
    "chain": ("simplecache::s3://bucket/a.jpg", "chains schemes"),
    "password": ("s3://AKIAABCDEFGHIJKLMNOP:hush-hush@bucket/a.jpg", "user name or password"),
    "user": ("s3://somebody@bucket/a.jpg", "user name or password"),
    "newline": ("in/a\nb.jpg", "control character"),
    "escape": ("s3://bucket/\x1b[31ma.jpg", "control character"),
    "nul": ("a\0b.jpg", "control character"),
    "backwards": ("in/\u202egpj.exe", "control character"),
    "bucket": ("s3://-bucket/a", "names no bucket"),
    "nobucket": ("s3:///a", "names no bucket"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_reason_and_no_secret(name: str) -> None:
    uri, words = REFUSED[name]
    with pytest.raises(StorageError, match=words) as caught:
        storage.absolute(uri)
    assert "hush-hush" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "metadata.google.internal", "0xA9FEA9FE", "2852039166", "[fd00:ec2::254]"],
)
def test_metadata_services_are_refused_for_allowed_schemes(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEMES_VARIABLE, "ftp")
    assert storage.absolute("ftp://files.example/a.jpg") == "ftp://files.example/a.jpg"
    with pytest.raises(StorageError, match="metadata"):
        storage.absolute(f"ftp://{host}/a.jpg")


def test_http_is_always_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCHEMES_VARIABLE, "http,https")
    with pytest.raises(StorageError, match="not supported"):
        storage.absolute("https://shop.example/a.jpg")


def test_links_out_of_the_allowed_folders_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = tmp_path / "in", tmp_path / "in-too"
    inside.mkdir()
    outside.mkdir()
    (inside / "way-out").symlink_to(outside)
    assert storage.absolute(str(outside / "a")) == str(outside / "a")
    monkeypatch.setenv(ROOTS_VARIABLE, os.pathsep.join([str(inside), "/none"]))
    assert storage.absolute(str(inside / "a")) == str(inside / "a")
    assert storage.absolute("s3://bucket/a") == "s3://bucket/a"
    for path in (outside / "a", inside / "way-out" / "a", inside / ".." / "in-too"):
        with pytest.raises(StorageError, match="outside the folders"):
            storage.resolve(str(path), str(inside / "catalog.parquet"))


@pytest.mark.parametrize("flipped", ["in/a", "in"])
def test_a_link_created_after_the_check_is_not_followed(
    flipped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check sees a file below the root, and each opening a link out of it."""
    for name in ("root", "secret"):
        (tmp_path / name / "in").mkdir(parents=True)
        (tmp_path / name / "in" / "a").write_bytes(name.encode())
    monkeypatch.setenv(ROOTS_VARIABLE, str(tmp_path / "root"))
    path, real = str(tmp_path / "root" / "in" / "a"), os.path.realpath
    file = at(path)
    assert file.read_bytes() == b"root"
    place, aside = tmp_path / "root" / flipped, tmp_path / "aside"

    def realpath(name: str) -> str:
        if name != path:
            return real(name)
        if place.is_symlink():
            place.unlink()
            aside.rename(place)
        found = real(name)
        place.rename(aside)
        place.symlink_to(tmp_path / "secret" / flipped)
        return found

    monkeypatch.setattr(os.path, "realpath", realpath)
    for read in (file.read_bytes, file.read_version):
        with pytest.raises(StorageError):
            read()


def test_relative_paths_stay_in_the_bucket() -> None:
    assert storage.resolve("../../../x", "s3://bucket/in/c.parquet") == "s3://bucket/x"


def test_secrets_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted/secret+key")
    monkeypatch.setenv("SOME_TOKEN", "short")
    text = (
        "GET http://me:word@host/x?a=1&X-Amz-Signature=abc123&b=2 by AKIAABCDEFGHIJKLMNOP "
        "with planted/secret+key is short"
    )
    assert redact(text) == (
        "GET http://***@host/x?a=1&X-Amz-Signature=***&b=2 by *** with *** is short"
    )
    assert printable("ftp://me:word@host/\x1bx") == "ftp://***@host/\N{REPLACEMENT CHARACTER}x"


@given(
    st.lists(st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,6}", fullmatch=True), min_size=1, max_size=4),
    st.sampled_from(
        ["/data/c.parquet", "s3://b/in/c.parquet", "/data/../in/c.parquet", "s3://b/c"]
    ),
)
def test_the_fast_path_resolves_like_the_slow_one(parts: list[str], manifest: str) -> None:
    plain = "/".join(parts)
    assert storage.resolver(manifest)(plain) == storage.resolve(f"./{plain}", manifest)
