"""Descendant processes that outlive their block are killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.cluster import descendants

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="processes are known from /proc"
)

SLEEP = "import time; print(flush=True); time.sleep(600)"
PARENT = (
    "import subprocess, sys; "
    f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); "
    "print(child.pid, flush=True); child.wait()"
)


def start(code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_leftovers_are_killed_and_others_spared() -> None:
    with start(SLEEP) as other, start(PARENT) as parent:
        assert other.stdout
        assert parent.stdout
        other.stdout.readline()
        grandchild = int(parent.stdout.readline())
        with descendants.kill_leftovers(spare=descendants.child_pids() - {parent.pid}):
            assert Path(f"/proc/{grandchild}").exists()
            parent.kill()  # like a library that leaves its grandchildren behind
        assert parent.stdout.read().strip() == ""  # empty once the grandchild is dead too
        assert other.poll() is None
        other.kill()
