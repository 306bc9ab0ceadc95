"""The environment variables that a command sets, and those that it keeps."""

import os
from pathlib import Path

import pytest

from flows.runtime.environment import set_defaults
from tasks.storage import scratch


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in ("no_proxy", "NO_PROXY", "TMPDIR"):
        os.environ.pop(name, None)


@pytest.mark.parametrize(
    ("lower", "upper", "hosts"),
    [
        ("", "", "localhost,127.0.0.1,::1"),
        ("shop.example", "", "shop.example,localhost,127.0.0.1,::1"),
        (
            "a.example, b.example",
            "b.example,localhost",
            "a.example,b.example,localhost,127.0.0.1,::1",
        ),
        ("*", "", "*"),
    ],
)
def test_loopback_never_goes_through_a_proxy(lower: str, upper: str, hosts: str) -> None:
    os.environ.update({"no_proxy": lower, "NO_PROXY": upper})
    set_defaults()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == hosts


def test_what_the_operator_set_stays(tmp_path: Path) -> None:
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "1", "TMPDIR": str(tmp_path)})
    set_defaults()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"
    assert os.environ["TMPDIR"] == str(tmp_path)


def test_a_tmpdir_that_is_gone_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.environ["TMPDIR"] = str(tmp_path / "gone")
    monkeypatch.setattr(scratch, "_FALLBACKS", (str(tmp_path),))
    set_defaults()
    assert os.environ["TMPDIR"] == str(tmp_path)


def test_without_any_place_help_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_FALLBACKS", ("/proc/none",))
    set_defaults()
    assert "TMPDIR" not in os.environ
