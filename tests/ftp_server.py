"""A real FTP server for tests of other fsspec schemes: rclone, on loopback."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.s3_server import free_port, rclone_binary

USER, PASSWORD = "me", "only-for-tests"
_START_SECONDS = 30.0


@contextmanager
def serve_ftp(root: Path) -> Iterator[str]:
    """Serve `root` inside the block; yields its URI without a password."""
    port = free_port()
    command = [str(rclone_binary()), "serve", "ftp", "--addr", f"127.0.0.1:{port}"]
    command += ["--user", USER, "--pass", PASSWORD, "--vfs-cache-mode", "writes"]
    command += ["--dir-cache-time", "1ms", "--poll-interval", "0", "--config", os.devnull]
    command += ["--cache-dir", str(root.parent / "cache"), str(root)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        _wait(port)
        yield f"ftp://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
