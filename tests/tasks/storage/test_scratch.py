"""Choice of the folder for temporary files, and the error without one."""

import os
from pathlib import Path

import pytest

from tasks.errors import PlanError
from tasks.storage import scratch

LONG = "a-folder-with-a-name-of-forty-characters"


@pytest.fixture(autouse=True)
def none_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose path is short enough for sockets."""
    used = len(os.fsencode(tmp_path)) + len(scratch._RAY_SOCKET)
    monkeypatch.setattr(scratch, "_SOCKET_PATH_BYTES", used + 8)
    return tmp_path


def test_environment_variables_take_precedence(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(short))
    assert scratch.temporary_folder() == scratch.ray_folder() == str(short)
    (short / "ray1").mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(short / "ray1"))
    assert scratch.ray_folder() == str(short / "ray1")
    assert scratch.temporary_folder() == str(short)


@pytest.mark.parametrize("name", ["missing", "file", LONG])
def test_folders_that_ray_cannot_use_are_skipped(
    name: str, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short / "file").write_text("not a folder")
    (short / LONG).mkdir()
    (short / "good").mkdir()
    monkeypatch.setattr(scratch, "_FALLBACKS", (str(short / "good"),))
    monkeypatch.setenv("TMPDIR", str(short / name))
    assert scratch.ray_folder() == str(short / "good")
    assert scratch.temporary_folder() == str(short / (LONG if name == LONG else "good"))


def test_full_folders_are_skipped(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_MIN_FREE_BYTES", 2**80)
    assert "MB are free" in scratch.problem(short)


def test_ray_folders_of_other_users_are_skipped(short: Path) -> None:
    assert scratch.ray_problem(short) == ""
    (short / "ray").write_text("in the way")
    assert scratch.ray_problem(short) == "not a directory"


def test_the_error_names_each_folder_and_its_problem(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_FALLBACKS", (str(short / "none"),))
    monkeypatch.setenv("TMPDIR", str(short / LONG))
    (short / LONG).mkdir()
    with pytest.raises(
        PlanError, match=r"too long for Unix sockets; .*none: no such file .*set RA"
    ):
        scratch.ray_folder()
