"""Files behave the same on the local disk, a real S3 server and other fsspec file systems."""

import hashlib
import os
import pickle
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest import mock

import pytest
from fsspec.config import conf, set_conf_env

from tasks import storage
from tasks.errors import AccessDenied, DiskFull, FileMissing, FileTooLarge, NotAFile, StorageError
from tasks.storage import StoragePath, connect, transient
from tasks.storage.base import Stat
from tasks.storage.generic import FsspecStore
from tasks.storage.leftovers import mark_in_use
from tasks.storage.local import LocalDisk
from tasks.storage.policy import SCHEMES_VARIABLE
from tasks.storage.s3 import S3Store
from tasks.storage.uris import local_uri, parent
from tests import ftp_server
from tests.faulty_proxy import Faults, faulty_proxy
from tests.ftp_server import serve_ftp
from tests.s3_server import S3Server
from tests.sentences import violation


@pytest.fixture(params=["local", "s3", "memory", "ftp"])
def root(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StoragePath:
    """The root of a local disk, a real S3 server, fsspec's memory, or a real FTP server."""
    monkeypatch.setattr(transient, "_FIRST_PAUSE", 0.0)  # what is tried is tested, not for how long
    if request.param == "local":
        return StoragePath.parse(str(tmp_path))
    if request.param == "memory":
        monkeypatch.setenv(SCHEMES_VARIABLE, "gs, memory")
        return StoragePath.parse(f"memory://storage/{tmp_path.name}")
    if request.param == "ftp":
        monkeypatch.setenv(SCHEMES_VARIABLE, "ftp")
        monkeypatch.setenv("FSSPEC_FTP_USERNAME", ftp_server.USER)
        monkeypatch.setenv("FSSPEC_FTP_PASSWORD", ftp_server.PASSWORD)
        set_conf_env(conf)  # read at import otherwise
        return StoragePath.parse(f"{request.getfixturevalue('ftp')}/{tmp_path.name}")
    server: S3Server = request.getfixturevalue("s3_env")
    return StoragePath.parse(server.uri(f"storage/{tmp_path.name}"))


@pytest.fixture
def bucket(moto_bucket: str) -> StoragePath:
    return StoragePath.parse(moto_bucket)


@pytest.fixture(scope="module")
def ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("ftp") / "served"
    root.mkdir()
    with serve_ftp(root) as uri:
        yield uri


def test_bytes_come_back(root: StoragePath) -> None:
    name = "ü b#1%?x=%41.bin"
    file = root / "a" / name
    assert not file.exists()
    assert file.version() == storage.MISSING
    for data in (b"one", b"", b"x" * 300_000):
        file.write_bytes(data)
        assert file.read_bytes() == data
    assert file.exists()
    assert (root / "a").list_names() == [name]
    file.delete()
    file.delete()
    assert not file.exists()


def test_a_path_is_parsed_once(root: StoragePath, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("absolute", "scheme"):
        monkeypatch.setattr(f"tasks.storage.path.{name}", lambda _: pytest.fail("parses again"))
    file = root / "a" / "b"
    file.write_bytes(b"data")
    sent: StoragePath = pickle.loads(pickle.dumps(file))
    assert sent == file == root / "a/b"
    assert sent.read_bytes() == b"data"
    assert (root / "a").list_names() == ["b"]
    with pytest.raises(StorageError, match="contains a control character"):
        root / "a\nb"


def test_a_folder_or_missing_path_is_not_a_file(root: StoragePath) -> None:
    (root / "folder/file").write_bytes(b"x")
    for name in ("folder", "none"):
        with pytest.raises(FileMissing, match="not found"):
            (root / name).read_bytes(10)
        assert not (root / name).exists()
    assert (root / "none").list_names() == []
    assert (root / "none").list_files() == {}


def test_listings_give_names_and_sizes(root: StoragePath) -> None:
    for name in ("b", "a/1", "a/deep/2"):
        (root / name).write_bytes(name.encode())
    assert root.list_files() == {"a/1": 3, "a/deep/2": 8, "b": 1}
    assert root.list_names() == ["b"]
    assert (root / "a").list_names() == ["1"]
    assert root.list_folders() == ["a"]
    assert (root / "none").list_folders() == []
    for name in (".b", ".a/..1", ".0123456789abcdef.tmp/2"):  # ids may begin with dots
        (root / name).write_bytes(b"")
    dotted = {".0123456789abcdef.tmp/2": 0, ".a/..1": 0, ".b": 0}
    assert root.list_files() == {**dotted, "a/1": 3, "a/deep/2": 8, "b": 1}
    assert root.list_names() == [".b", "b"]
    assert root.list_folders() == [".0123456789abcdef.tmp", ".a", "a"]
    if not root.scheme:
        Path(root.uri, ".0123456789abcdef.tmp", ".0123456789abcdef.tmp").write_bytes(b"half")
        assert (root / ".0123456789abcdef.tmp").list_files() == {"2": 0}
        assert (root / ".0123456789abcdef.tmp").list_names() == ["2"]


def test_files_above_the_limit_are_not_read(root: StoragePath) -> None:
    file = root / "big"
    file.write_bytes(bytes(2 * 2**20))
    with pytest.raises(FileTooLarge, match="2 MB, more than the limit of 1 MB"):
        file.read_bytes(2**20)
    assert len(file.read_bytes(2 * 2**20)) == 2 * 2**20


def test_hashing_reads_in_chunks(tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(200 * 2**20)
    tracemalloc.start()
    found = StoragePath.parse(str(big)).version()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == f"sha256:{hashlib.sha256(bytes(200 * 2**20)).hexdigest()}"
    assert peak < 2**23


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no /proc here")
def test_files_of_size_zero_are_limited_too() -> None:
    with pytest.raises(NotAFile, match="give a regular file"):
        StoragePath.parse("/proc/self/mem").read_bytes()
    assert StoragePath.parse("/proc/self/status").read_bytes().startswith(b"Name:")
    with pytest.raises(FileTooLarge):
        StoragePath.parse("/proc/self/maps").read_bytes(10)


def test_the_version_changes_with_the_bytes(root: StoragePath) -> None:
    one, two = root / "one", root / "two"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    before = one.version()
    assert before == two.version()
    assert before.startswith("etag:" if root.scheme == "s3" else "sha256:")
    assert one.read_version() == (b"same", before)
    one.write_bytes(b"other")
    assert one.version() != before


def test_write_new_keeps_an_existing_file(root: StoragePath) -> None:
    file = root / "a/new"
    assert file.write_new(b"first")
    ignorant = root.scheme == "s3"  # rclone's server ignores conditions; moto's does not, below
    assert file.write_new(b"second") == ignorant
    assert file.read_bytes() == (b"second" if ignorant else b"first")
    assert (root / "a").list_names() == ["new"]


def test_write_new_keeps_an_existing_object(bucket: StoragePath) -> None:
    file = bucket / "new"
    assert file.write_new(b"first")
    assert not file.write_new(b"second")
    assert file.read_bytes() == b"first"
    file.write_bytes(b"third")
    assert file.read_bytes() == b"third"


ODD_KEYS = (
    "dbl//a.png",
    "x//y.png",
    "/rooted.png",
    "//two.png",
    "tail/",
    "tail//",
    "dots/./a.png",
    "dots/../b.png",
    "../up.png",
    "v?versionId=1.png",
    "q?x=1&y.png",
    "#1.png",
    "50%.png",
    "50%25.png",
    "a b+c.png",
    " padded .png",
    "back\\slash.png",
    "star*[1].png",
    "c:1.png",
    "d::2.png",
    "~t.png",
    "\u00e9.png",
    "e\u0301.png",
)


def test_keys_are_not_parsed_as_paths(bucket: StoragePath) -> None:
    """Slashes, dots, `?versionId=` and the like are part of a key."""
    files = {key: (bucket / key) for key in ODD_KEYS}
    for key, file in files.items():
        file.write_bytes(key.encode())
    (bucket / "").write_bytes(b"")  # stands for the folder
    assert list(bucket.list_files()) == sorted(ODD_KEYS)
    each = {file.uri: file.version() for file in files.values()}
    assert len(set(each.values())) == len(ODD_KEYS)
    with mock.patch("tasks.storage.s3._FEW", 0):
        assert storage.versions(each) == each
    for key, file in files.items():
        assert file.read_bytes() == key.encode()
    assert set(bucket.list_names()) == {key for key in ODD_KEYS if "/" not in key}
    assert (bucket / "dbl//").list_names() == ["a.png"]
    for file in files.values():
        file.delete()
    assert bucket.list_files() == {}


def test_listings_of_several_pages(bucket: StoragePath, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number}.png" for number in range(5)]
    for name in names:
        (bucket / name).write_bytes(b"x")
    monkeypatch.setattr("moto.settings.get_s3_default_max_keys", lambda: 2)
    assert list(bucket.list_files()) == bucket.list_names() == names


def test_a_bucket_may_be_a_folder(s3_env: S3Server) -> None:
    (s3_env.root / "whole").mkdir()
    (s3_env.root / "whole" / "a.png").write_bytes(b"x")
    for whole in map(StoragePath.parse, ("s3://whole", "s3://whole/")):
        assert whole.list_files() == {"a.png": 1}
        assert whole.list_names() == ["a.png"]
        assert not whole.exists()
    assert (StoragePath.parse("s3://whole") / "a.png").read_bytes() == b"x"
    with pytest.raises(FileMissing, match="s3://no-such-bucket not found"):
        StoragePath.parse("s3://no-such-bucket").list_files()
    assert StoragePath.parse("s3://no-such-bucket").list_names() == []


def test_local_names_that_are_not_utf8_get_file_uris(tmp_path: Path) -> None:
    for name in (b"caf\xe9.png", b"a\nb.png", b"\x1b[2J.png"):
        path = os.fsdecode(bytes(tmp_path) + b"/" + name)
        file = StoragePath.parse(local_uri(path))
        assert file.uri.isprintable()
        file.write_bytes(name)
        assert Path(path).read_bytes() == file.read_bytes() == name
        file.delete()
        with pytest.raises(FileMissing, match="not found") as caught:
            file.read_bytes()
        assert not violation(str(caught.value), str(tmp_path))
    folder = StoragePath.parse(os.fsdecode(bytes(tmp_path) + b"/\xe9"))
    (folder / "in" / "1%.png").write_bytes(b"x")
    assert folder.list_files() == {"in/1%.png": 1}
    assert parent((folder / "in" / "1%.png").uri) == (folder / "in").uri


def test_versions_equals_version_of_each_file(
    root: StoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [(root / f"photos/p{i:03d}/main.jpg") for i in range(130)]
    for file in files[:-1]:
        file.write_bytes(file.uri.encode())
    (root / "photos/p001/other.jpg").write_bytes(b"not asked for")
    each = {file.uri: file.version() for file in files}
    assert each[files[-1].uri] == storage.MISSING
    asked: list[str] = []
    real = S3Store.stat
    monkeypatch.setattr(S3Store, "stat", lambda self, p: (asked.append(p), real(self, p))[1])
    assert storage.versions(reversed(each)) == each
    if root.scheme == "s3":
        assert asked == [files[-1].uri.removeprefix("s3://")]  # the lists told of all others


def test_the_server_refuses_bytes_damaged_in_upload(
    s3_env: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transient, "_FIRST_PAUSE", 0.0)
    file, real, sent = StoragePath.parse(s3_env.uri("storage/digest")), S3Store._put, []

    def spoil(self: S3Store, path: str, data: bytes, new: bool, more: dict[str, str]) -> object:
        sent.append(data)
        return real(self, path, data[:-1] + b"!" if len(sent) == 1 else data, new, more)

    monkeypatch.setattr(S3Store, "_put", spoil)
    file.write_bytes(b"as it was sent")
    assert len(sent) == 2
    assert s3_env.file("storage/digest").read_bytes() == b"as it was sent"


def test_bytes_damaged_in_download_are_read_again(
    s3_env: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transient, "_FIRST_PAUSE", 0.0)
    file = StoragePath.parse(s3_env.uri("storage/way-back"))
    file.write_bytes(b"as it was sent")
    with faulty_proxy(s3_env.endpoint_url, Faults(1.0, kinds=("flip",), most=2)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        assert file.read_bytes() == b"as it was sent"
        assert proxy.counts["flip"] == 2


@pytest.mark.parametrize("told", [{}, {"ServerSideEncryption": "aws:kms"}])
def test_etags_that_are_not_md5_are_recognized(
    s3_env: S3Server, monkeypatch: pytest.MonkeyPatch, told: dict[str, str]
) -> None:
    """Some stores give other digests of 32 digits; two equal reads show that."""
    for name in "ab":
        StoragePath.parse(s3_env.uri(f"storage/odd-{name}")).write_bytes(name.encode())
    real, reads = S3Store._get, []

    async def other(self: S3Store, path: str, limit: int | None) -> object:
        data, answer = await real(self, path, limit)
        reads.append(path)
        return data, {**answer, "ETag": "0" * 32, **told}

    monkeypatch.setattr(S3Store, "_get", other)
    connect._connected.cache_clear()
    for name in "ab":
        assert StoragePath.parse(s3_env.uri(f"storage/odd-{name}")).read_bytes() == name.encode()
    assert len(reads) == (2 if told else 3)  # such a bucket is found out once


def test_transient_errors_are_retried(root: StoragePath, monkeypatch: pytest.MonkeyPatch) -> None:
    file = root / "file"
    file.write_bytes(b"data")
    kind = type(connect.backend_for(file.scheme))
    real, tries = kind.read, []

    def stumble(self: object, path: str, limit: int | None) -> object:
        tries.append(path)
        if len(tries) < transient.ATTEMPTS:
            raise ConnectionResetError("reset by peer")
        return real(self, path, limit)

    monkeypatch.setattr(kind, "read", stumble)
    assert file.read_bytes() == b"data"
    assert len(tries) == transient.ATTEMPTS
    tries.clear()
    monkeypatch.setattr(kind, "read", lambda *_: (tries.append(""), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        file.read_bytes()
    assert len(tries) == 1


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StoragePath.parse(str(tmp_path / "file"))
    file.write_bytes(b"old")
    with pytest.raises(StorageError, match="a folder of that name exists; move it away"):
        StoragePath.parse(str(tmp_path)).write_bytes(b"x")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(DiskFull, match=r"No space left.*; free some space") as caught:
        file.write_bytes(b"new and longer")
    assert not caught.value.transient
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_write_syncs_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut, only names in synced folders survive."""
    real, synced = os.fsync, list[os.stat_result]()

    def fsync(handle: int) -> None:
        synced.append(os.fstat(handle))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    for write in (StoragePath.write_bytes, StoragePath.write_new):
        synced.clear()
        path = tmp_path / write.__name__ / "deep" / "file"
        write(StoragePath.parse(str(path)), b"data")
        last = [path.parent.parent.parent, path.parent.parent, path, path.parent]
        assert [found.st_ino for found in synced] == [there.stat().st_ino for there in last]


def test_drafts_of_killed_writers_are_deleted(tmp_path: Path) -> None:
    left, young, held, other = (
        tmp_path / f".{16 * letter}{ending}"
        for letter, ending in (("a", ".tmp"), ("b", ".tmp"), ("c", ".tmp"), ("d", ".png"))
    )
    for path in (left, young, held, other):
        path.write_bytes(b"half")
        if path != young:
            os.utime(path, (path.stat().st_mtime - 100,) * 2)
    with held.open("rb") as file:
        mark_in_use(file.fileno())
        StoragePath.parse(str(tmp_path / "file")).write_bytes(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {
        "file", young.name, held.name, other.name
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "said"),
    [(Stat(3), "4 bytes were sent but 3 were stored"), (None, "is missing right after")],
)
def test_lost_bytes_are_detected(
    found: Stat | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stat(_: FsspecStore, path: str) -> Stat:
        if found is None:
            raise FileNotFoundError(path)
        return found

    monkeypatch.setattr(transient, "_FIRST_PAUSE", 0.0)
    monkeypatch.setenv(SCHEMES_VARIABLE, "memory")
    monkeypatch.setattr(FsspecStore, "stat", stat)
    with pytest.raises(StorageError, match=said) as caught:
        StoragePath.parse("memory://lost/file").write_bytes(b"four")
    assert caught.value.transient


def test_a_file_may_be_deleted_right_after_its_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example, two runs compact the same parts at the same time."""
    write = LocalDisk.write

    def then_deleted(disk: LocalDisk, path: str, data: bytes, *, new: bool = False) -> bool:
        verified = write(disk, path, data, new=new)
        os.unlink(path)
        return verified

    monkeypatch.setattr(LocalDisk, "write", then_deleted)
    assert StoragePath.parse(str(tmp_path / "file")).write_new(b"four")
    assert list(tmp_path.iterdir()) == []


def test_missing_permission_is_reported_without_retry(
    s3_env: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessDenied, match="no permission to read") as caught:
        StoragePath.parse(s3_env.uri("x")).read_bytes()
    assert not caught.value.transient


class Refusing(BaseHTTPRequestHandler):
    """An S3 server that answers SlowDown to each request."""

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
    # Tests the retries, not their pauses.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setattr(transient, "_FIRST_PAUSE", 0.0)
    yield server
    server.shutdown()
    server.server_close()


def test_a_throttling_store_is_retried_and_the_error_is_transient(busy_server: HTTPServer) -> None:
    with pytest.raises(StorageError) as caught:
        StoragePath.parse("s3://bucket/key").read_bytes()
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
def test_unsupported_uris_are_refused(uri: str, words: str) -> None:
    with pytest.raises(StorageError, match=words):
        StoragePath.parse(uri)
