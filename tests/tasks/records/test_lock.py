"""One driver per run: a second one is refused while the first is alive, then takes over."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.errors import StorageError
from tasks.records import lock as run_lock
from tasks.records.layout import RunFiles
from tasks.records.lock import RunBusyError, RunLostError, hold_run
from tests.s3_server import S3Server
from tests.tasks.places import files_of

HOLD = """
import sys, time
from tasks.records.layout import RunFiles
from tasks.records.lock import hold_run
from tasks.storage import StoragePath
with hold_run(RunFiles(StoragePath.parse(sys.argv[1]), "run-1")):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(run_lock, "_RACE_SECONDS", 0.05)


@pytest.fixture(params=["local", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> RunFiles:
    if request.param == "local":
        return files_of(tmp_path)
    server: S3Server = request.getfixturevalue("s3_env")
    return files_of(server.uri(f"lock/{tmp_path.name}"))


def test_a_held_run_is_refused_until_it_is_released(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "SILENT_BEATS", 50)  # a slow machine is not a dead holder
    with hold_run(files):
        with (
            pytest.raises(RunBusyError, match=f"process {os.getpid()} on .* is working on"),
            hold_run(files),
        ):
            pass
        assert files.lock.exists()
    assert not files.lock.exists()
    with hold_run(files) as lock:
        lock.check()


def test_a_killed_holder_on_this_machine_is_replaced_at_once(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock.RunLock, "_await_heartbeat", lambda *_: pytest.fail("waits"))
    command = [sys.executable, "-c", HOLD, files.output.uri]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert files.lock.exists()
    with hold_run(files) as lock:
        lock.check()


def test_a_silent_holder_on_another_machine_is_replaced_after_some_beats(files: RunFiles) -> None:
    with hold_run(files):
        words = json.loads(files.lock.read_bytes())
    files.lock.write_bytes(json.dumps({**words, "host": "elsewhere"}).encode())
    with hold_run(files) as lock:
        lock.check()


def test_a_driver_that_lost_the_run_keeps_the_new_lock(files: RunFiles) -> None:
    with hold_run(files) as lock:
        words = json.loads(files.lock.read_bytes())
        theirs = json.dumps({**words, "token": "theirs"}).encode()
        files.lock.write_bytes(theirs)
        deadline = time.monotonic() + 30
        while not lock._lost and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(RunLostError, match=r"held by process .* which has taken over the run"):
            lock.check()
    assert files.lock.read_bytes() == theirs


SPOILT = {
    "gone": b"",
    "emptied": b"",
    "words": b"mine",
    "no holder": b"[1]",
    "long": b" " * 5000,
    "deep": b"[" * 4000,
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_missing_or_damaged_lock_is_lost(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noticed by the heartbeat, or by the check before a write."""
    files = files_of(tmp_path)
    for beats in (0.05, 3600.0):
        monkeypatch.setattr(run_lock, "BEAT_SECONDS", beats)
        with hold_run(files) as lock:
            files.lock.write_bytes(SPOILT[how])
            if how == "gone":
                files.lock.delete()
            deadline = time.monotonic() + 30
            while beats < 1 and not lock._lost and time.monotonic() < deadline:
                time.sleep(0.01)
            with pytest.raises(RunLostError, match=r"lock\.json (is gone|cannot be read)"):
                lock.verify() if beats > 1 else lock.check()
        if how != "gone":
            assert files.lock.read_bytes() == SPOILT[how]
            files.lock.delete()
        assert not files.lock.exists()


def test_an_unexpected_error_in_the_heartbeat_gives_up_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(_: object) -> None:
        raise ZeroDivisionError("of ours")

    with hold_run(files_of(tmp_path)) as lock:
        monkeypatch.setattr(run_lock.RunLock, "_write", defect)
        deadline = time.monotonic() + 30
        while not lock._lost and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(RunLostError, match="ZeroDivisionError: of ours"):
            lock.check()


@pytest.mark.parametrize("kind", ["local", "rclone", "moto"])
def test_stores_without_conditional_writes_give_a_warning(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    output = str(tmp_path)
    if kind == "rclone":
        output = request.getfixturevalue("s3_env").uri(f"conditions/{tmp_path.name}")
    elif kind == "moto":
        output = request.getfixturevalue("moto_bucket")
    files = files_of(output)
    with hold_run(files) as lock:
        assert lock.conditional_writes == (kind != "rclone")
        assert (files.output / "runs/run-1").list_names() == ["lock.json"]
    said = [r.message for r in caplog.records if "does not support conditional writes" in r.message]
    assert len(said) == (kind == "rclone")


def test_an_unavailable_store_does_not_lose_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(tmp_path)
    with hold_run(files) as lock:
        away = StorageError("away", transient=True)
        monkeypatch.setattr(run_lock.RunLock, "_read", lambda _: (_ for _ in ()).throw(away))
        time.sleep(0.5)
        lock.check()
        monkeypatch.undo()


def test_a_foreign_lock_file_is_reported(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    files.lock.write_bytes(b"mine")
    with (
        pytest.raises(RunBusyError, match="is not a lock file of StyleGallery"),
        hold_run(files),
    ):
        pass


@pytest.mark.parametrize("below", ["a-file", "a-file/deeper", "folder-is-a-file/out"])
def test_a_read_only_output_is_reported(tmp_path: Path, below: str) -> None:
    (tmp_path / "a-file").write_text("")
    (tmp_path / "folder-is-a-file").write_text("")
    output = str(tmp_path / below)
    with (
        pytest.raises(StorageError, match=r"the output .* cannot be written") as error,
        hold_run(files_of(output)),
    ):
        raise AssertionError("held")
    assert output in str(error.value)
    assert "not found" not in str(error.value)
