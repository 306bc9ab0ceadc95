"""Processes below this one, and those that outlive their block."""

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


def test_what_a_block_leaves_behind_is_killed_and_others_are_not() -> None:
    with start(SLEEP) as other, start(PARENT) as parent:
        assert other.stdout
        assert parent.stdout
        other.stdout.readline()
        grandchild = int(parent.stdout.readline())
        with descendants.kill_leftovers(spare=descendants.child_pids() - {parent.pid}):
            assert Path(f"/proc/{grandchild}").exists()
            parent.kill()  # as a library that forgets its grandchildren
        assert parent.stdout.read().strip() == ""  # its end is seen by the grandchild's, too
        assert other.poll() is None
        other.kill()
