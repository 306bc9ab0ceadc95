"""Storage means the same on the local disk and on a real S3 server."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from fsspec.config import conf, set_conf_env

from tasks import retry, storage
from tasks.access import SCHEMES_VARIABLE
from tasks.backend import Stat
from tasks.errors import AccessDenied, FileMissing, FileTooLarge, StorageError
from tasks.local_disk import LocalDisk
from tasks.object_store import ObjectStore
from tests import ftp_server
from tests.ftp_server import serve_ftp
from tests.s3_server import S3Server


@pytest.fixture(params=["local", "s3", "memory", "ftp"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A disk, a real S3 server, and what only fsspec knows: memory, and a real FTP server."""
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.0)  # what is tried is tested, not for how long
    if request.param == "local":
        return str(tmp_path)
    if request.param == "memory":
        monkeypatch.setenv(SCHEMES_VARIABLE, "gs, memory")
        return f"memory://storage/{tmp_path.name}"
    if request.param == "ftp":
        monkeypatch.setenv(SCHEMES_VARIABLE, "ftp")
        monkeypatch.setenv("FSSPEC_FTP_USERNAME", ftp_server.USER)
        monkeypatch.setenv("FSSPEC_FTP_PASSWORD", ftp_server.PASSWORD)
        set_conf_env(conf)  # read at import otherwise
        return f"{request.getfixturevalue('ftp')}/{tmp_path.name}"
    server: S3Server = request.getfixturevalue("s3_env")
    return server.uri(f"storage/{tmp_path.name}")


@pytest.fixture(scope="module")
def ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("ftp") / "served"
    root.mkdir()
    with serve_ftp(root) as uri:
        yield uri


def test_bytes_come_back(root: str) -> None:
    uri = storage.join(root, "a", "ü b#1%.bin")
    assert not storage.exists(uri)
    assert storage.version(uri) == storage.MISSING
    for data in (b"one", b"", b"x" * 300_000):
        storage.write_bytes(uri, data)
        assert storage.read_bytes(uri) == data
    assert storage.exists(uri)
    assert storage.list_names(storage.join(root, "a")) == ["ü b#1%.bin"]
    storage.delete(uri)
    storage.delete(uri)
    assert not storage.exists(uri)


def test_missing_and_folders_are_no_files(root: str) -> None:
    storage.write_bytes(storage.join(root, "folder/file"), b"x")
    for name in ("folder", "none"):
        with pytest.raises(FileMissing, match="not found"):
            storage.read_bytes(storage.join(root, name), 10)
        assert not storage.exists(storage.join(root, name))
    assert storage.list_names(storage.join(root, "none")) == []
    assert storage.list_files(storage.join(root, "none")) == {}


def test_lists_tell_names_and_sizes(root: str) -> None:
    for name in ("b", "a/1", "a/deep/2"):
        storage.write_bytes(storage.join(root, name), name.encode())
    assert storage.list_files(root) == {"a/1": 3, "a/deep/2": 8, "b": 1}
    assert storage.list_names(root) == ["b"]
    assert storage.list_names(storage.join(root, "a")) == ["1"]


def test_too_large_files_are_not_read(root: str) -> None:
    uri = storage.join(root, "big")
    storage.write_bytes(uri, bytes(2 * 2**20))
    with pytest.raises(FileTooLarge, match="2 MB, more than the limit of 1 MB"):
        storage.read_bytes(uri, 2**20)
    assert len(storage.read_bytes(uri, 2 * 2**20)) == 2 * 2**20


def test_versions_name_the_bytes(root: str) -> None:
    one, two = storage.join(root, "one"), storage.join(root, "two")
    storage.write_bytes(one, b"same")
    storage.write_bytes(two, b"same")
    before = storage.version(one)
    assert before == storage.version(two)
    assert before.startswith("etag:" if root.startswith("s3") else "sha256:")
    assert storage.read_version(one) == (b"same", before)
    storage.write_bytes(one, b"other")
    assert storage.version(one) != before


def test_what_is_there_is_not_written_over(root: str) -> None:
    uri = storage.join(root, "a/new")
    assert storage.write_new(uri, b"first")
    ignorant = root.startswith("s3")  # rclone's server ignores conditions; moto's does not, below
    assert storage.write_new(uri, b"second") == ignorant
    assert storage.read_bytes(uri) == (b"second" if ignorant else b"first")
    assert storage.list_names(storage.join(root, "a")) == ["new"]


def test_an_object_that_is_there_is_not_written_over(moto_bucket: str) -> None:
    uri = f"{moto_bucket}/new"
    assert storage.write_new(uri, b"first")
    assert not storage.write_new(uri, b"second")
    assert storage.read_bytes(uri) == b"first"
    storage.write_bytes(uri, b"third")
    assert storage.read_bytes(uri) == b"third"


@pytest.fixture
def moto_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on moto's server, which knows conditional writes as AWS does."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}").create_bucket(Bucket="moto")
    yield "s3://moto/in"
    server.stop()


def test_versions_of_many_are_those_of_each(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uris = [storage.join(root, f"photos/p{i:03d}/main.jpg") for i in range(130)]
    for uri in uris[:-1]:
        storage.write_bytes(uri, uri.encode())
    storage.write_bytes(storage.join(root, "photos/p001/other.jpg"), b"not asked for")
    each = {uri: storage.version(uri) for uri in uris}
    assert each[uris[-1]] == storage.MISSING
    asked: list[str] = []
    real = ObjectStore.stat
    monkeypatch.setattr(ObjectStore, "stat", lambda self, p: (asked.append(p), real(self, p))[1])
    assert storage.versions(reversed(uris)) == each
    if root.startswith("s3"):
        assert asked == [uris[-1].removeprefix("s3://")]  # the lists told of all others


def test_bytes_changed_on_the_way_are_refused_by_the_server(
    s3_env: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.0)
    uri, real, sent = s3_env.uri("storage/digest"), ObjectStore._put, []

    def spoil(self: ObjectStore, path: str, data: bytes, new: bool, more: dict[str, str]) -> object:
        sent.append(data)
        return real(self, path, data[:-1] + b"!" if len(sent) == 1 else data, new, more)

    monkeypatch.setattr(ObjectStore, "_put", spoil)
    storage.write_bytes(uri, b"as it was sent")
    assert len(sent) == 2
    assert s3_env.file("storage/digest").read_bytes() == b"as it was sent"


def test_a_fault_that_passes_is_tried_again(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = storage.join(root, "file")
    storage.write_bytes(uri, b"data")
    kind = type(storage._open(uri)[0])
    real, tries = kind.read, []

    def stumble(self: object, path: str, limit: int | None) -> object:
        tries.append(path)
        if len(tries) < retry.ATTEMPTS:
            raise ConnectionResetError("reset by peer")
        return real(self, path, limit)

    monkeypatch.setattr(kind, "read", stumble)
    assert storage.read_bytes(uri) == b"data"
    assert len(tries) == retry.ATTEMPTS
    tries.clear()
    monkeypatch.setattr(kind, "read", lambda *_: (tries.append(""), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        storage.read_bytes(uri)
    assert len(tries) == 1


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "file")
    storage.write_bytes(uri, b"old")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StorageError, match="No space left") as caught:
        storage.write_bytes(uri, b"new and longer")
    assert not caught.value.transient
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_bytes_lost_on_the_way_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(LocalDisk, "stat", lambda *_: Stat(3))
    with pytest.raises(StorageError, match="4 bytes were sent but 3 arrived") as caught:
        storage.write_bytes(str(tmp_path / "file"), b"four")
    assert caught.value.transient


def test_no_permission_is_said_and_does_not_pass(
    s3_env: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessDenied, match="no permission to read") as caught:
        storage.read_bytes(s3_env.uri("x"))
    assert not caught.value.transient


class Refusing(BaseHTTPRequestHandler):
    """An S3 server that asks everybody to slow down."""

    def answer(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def busy_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    server.asked = 0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    # What is tried is tested here, not for how long.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.0)
    yield server
    server.shutdown()
    server.server_close()


def test_a_busy_store_is_asked_again_and_then_called_transient(busy_server: HTTPServer) -> None:
    with pytest.raises(StorageError) as caught:
        storage.read_bytes("s3://bucket/key")
    assert caught.value.transient
    assert busy_server.asked >= 8  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("https://shop.example/a.jpg", "starts with https:, which is not supported"),
        ("gs://bucket/a.jpg", "use a local path, file:// or s3://"),
        ("s3:///key", "names no bucket"),
        ("file://host/share/a.jpg", "names a host"),
    ],
)
def test_other_uris_are_refused(uri: str, words: str) -> None:
    with pytest.raises(StorageError, match=words):
        storage.absolute(uri)


def test_uris_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.absolute("a/../b") == str(tmp_path / "b")
    assert storage.absolute("file:///a%20b/c") == "/a b/c"
    assert storage.absolute("s3://bucket/a/") == "s3://bucket/a"
    assert storage.absolute("s3://bucket") == "s3://bucket"
    assert storage.resolve("img/a.jpg", "s3://bucket/in/c.parquet") == "s3://bucket/in/img/a.jpg"
    assert storage.resolve("../a.jpg", "s3://bucket/in/c.parquet") == "s3://bucket/a.jpg"
    assert storage.resolve("../a.jpg", "in/c.parquet") == str(tmp_path / "a.jpg")
    assert storage.resolve("/x/a.jpg", "s3://bucket/c.parquet") == "/x/a.jpg"
    assert storage.resolve("s3://other/a.jpg", "in/c.parquet") == "s3://other/a.jpg"
    assert storage.parent("s3://bucket/in/c.parquet") == "s3://bucket/in"
