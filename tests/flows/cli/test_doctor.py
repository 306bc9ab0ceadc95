"""`stylegallery doctor` in environments in which a run cannot start."""

import os
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli.commands import doctor
from tasks.storage import scratch


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_folders_that_ray_cannot_use_are_noted(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    os.environ["TMPDIR"] = str(deep)
    ok, ray, note = doctor._temporary_folders()
    assert (ok.text, ok.remedy, ray.remedy) == (str(deep), "", "")
    assert "is not used by Ray" in note.text
    assert "too long for Unix sockets" in note.remedy
    assert not note.fatal


def test_no_folder_at_all_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    os.environ.pop("TMPDIR", None)
    monkeypatch.setattr(scratch, "_FALLBACKS", ("/proc/none",))
    files, ray = doctor._temporary_folders()
    assert "set TMPDIR" in files.remedy
    assert "set RAY_TMPDIR" in ray.remedy
    assert files.fatal


def test_a_dead_server_is_fatal_and_a_lost_home_and_a_socks_proxy_are_noted() -> None:
    os.environ.update({"all_proxy": "socks5://127.0.0.1:9", "PREFECT_HOME": "/proc/none"})
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        home, proxies, server = doctor._prefect()
    assert "Runs use a temporary folder" in home.remedy
    assert "pip install socksio" in proxies.remedy
    assert "Connection refused" in server.remedy
    assert (home.fatal, proxies.fatal, server.fatal) == (False, False, True)


def test_good_surroundings_need_no_remedy() -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        assert not any(finding.remedy for finding in doctor._prefect())
