"""The short form of `python -m tests.chaos`: everything fails, and nothing of it shows."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 900

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS + 60),
    pytest.mark.skipif(sys.platform != "linux", reason="finds actors by /proc"),
]


def test_a_run_survives_its_actors_a_node_the_store_and_its_driver() -> None:
    """In a process of its own, for it needs a cluster and an environment of its own."""
    shape = ["--items", "40", "--hold", "1", "--kill-gap", "12", "--driver-kills", "1"]
    command = [sys.executable, "-m", "tests.chaos", *shape]
    chaos = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, _ = chaos.communicate(timeout=SECONDS)
    finally:
        if chaos.poll() is None:
            chaos.terminate()  # it takes its cluster and its servers along
            chaos.wait(60)
    assert chaos.returncode == 0, said
