"""Signals: what they raise, what a second one does, and a whole run that is stopped and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from schemas.arrow import to_table
from schemas.manifest import CatalogRow, GalleryRow
from tasks.verify import verify
from tests.tasks.pictures import noise, save
from tests.tiny_model import write_tiny_model

ITEMS = 24
SETTINGS = {"steps": 1, "inversion_steps": 2, "max_regions": 2, "image_size": 64}


def snippet(body: str) -> subprocess.CompletedProcess[str]:
    """Run some lines in a process that has the handlers."""
    head = (
        "import os, signal, sys, time\n"
        "from flows import interrupts\n"
        "from flows.interrupts import Interrupts, Stopped\n"
    )
    code = head + body
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_first_signal_raises_and_others_are_answered_with_a_line() -> None:
    done = snippet(
        "Interrupts().install()\n"
        "try: signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    for number in (signal.SIGINT, signal.SIGTERM): signal.raise_signal(number)\n"
        "    print('alive')\n"
    )
    assert done.stdout.strip() == "alive", done.stderr
    assert done.stderr.count("stopping; what is done is being written down") == 2


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_other_signals_raise_what_is_no_interrupt(name: str) -> None:
    done = snippet(
        "handler = Interrupts()\n"
        "handler.install()\n"
        f"try: signal.raise_signal(signal.{name})\n"
        f"except Stopped: print(handler.heard == signal.{name})\n"
    )
    assert done.stdout.strip() == "True", done.stderr


def test_what_the_caller_switched_off_stays_off() -> None:
    done = snippet(
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does\n"
        "Interrupts().install()\n"
        "signal.raise_signal(signal.SIGHUP)\n"
        "print('alive')\n"
    )
    assert done.stdout.strip() == "alive", done.stderr


LOST = {
    "finalizer": (
        "class Deaf:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGINT)\n"
        "def lose(): Deaf()\n"
    ),
    "made another": (
        "def lose():\n"
        "    try:\n"
        "        try: signal.raise_signal(signal.SIGINT)\n"
        "        except BaseException: raise ValueError('not taken') from None\n"
        "    except Exception: pass\n"
    ),
}


@pytest.mark.parametrize("how", LOST)
def test_an_exception_that_is_lost_is_raised_again(how: str) -> None:
    done = snippet(
        f"interrupts._AGAIN = 0.1\nInterrupts().install()\n{LOST[how]}"
        "try:\n"
        "    lose()\n"
        "    for _ in range(400): time.sleep(0.05)  # an exception waits for the end of a sleep\n"
        "except KeyboardInterrupt: print('heard')\n"
    )
    assert (done.stdout.strip(), done.stderr) == ("heard", "")


def test_what_is_on_its_way_out_is_not_raised_again() -> None:
    done = snippet(
        "interrupts._AGAIN = 0.05\n"
        "Interrupts().install()\n"
        "try:\n"
        "    try: signal.raise_signal(signal.SIGINT)\n"
        "    finally: time.sleep(0.5); print('cleaned')\n"
        "except KeyboardInterrupt: time.sleep(0.5); print('left')\n"
    )
    assert (done.stdout.split(), done.stderr) == (["cleaned", "left"], "")


def test_a_command_that_is_over_is_left_alone() -> None:
    done = snippet(
        "handler = Interrupts()\n"
        "handler.install()\n"
        "handler.finish()\n"
        "signal.raise_signal(signal.SIGINT)\n"
        "print('alive')\n"
    )
    assert done.stdout.strip() == "alive", done.stderr


def test_a_signal_long_after_the_first_ends_the_process_at_once() -> None:
    done = snippet(
        "interrupts._PATIENCE = -1.0\n"
        "Interrupts().install()\n"
        "try: signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('alive')\n"
    )
    assert (done.returncode, done.stdout) == (143, "")


class Scene:
    """A catalog, and the command that restyles it, in a process group of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.out, self.log = home, home / "out", home / "log.txt"
        write_tiny_model(home / "model")
        save(home / "cup.png", noise(64, 64))
        save(home / "wheat.png", noise(72, 64))
        photos = [CatalogRow(product_id=f"p{i}", image_uri="cup.png", seed=i) for i in range(ITEMS)]
        style = GalleryRow(gallery_id="field", style_id="wheat", image_uri="wheat.png")
        pq.write_table(to_table(photos, CatalogRow), home / "catalog.parquet")
        pq.write_table(to_table([style], GalleryRow), home / "galleries.parquet")

    def start(self) -> "subprocess.Popen[bytes]":
        words = ["run", "--catalog", "catalog.parquet", "--galleries", "galleries.parquet"]
        words += ["--output", "out", "--model", "model"]
        for name, value in SETTINGS.items():
            words += ["--set", f"{name}={value}"]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PREFECT_HOME": str(self.home / "prefect")}
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *words],
                cwd=self.home,
                env={**env, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def assets(self) -> dict[str, int]:
        """Each picture, and when it was written."""
        found = (self.out / "assets").rglob("*.png")
        return {path.name: path.stat().st_mtime_ns for path in found}

    def reach(self, process: "subprocess.Popen[bytes]", count: int) -> None:
        until(lambda: len(self.assets()) >= count or process.poll() is not None)
        assert process.poll() is None, self.log.read_text()

    @property
    def run(self) -> Path:
        (found,) = (self.out / "runs").iterdir()
        return found

    def state(self) -> str:
        return str(json.loads((self.run / "run.json").read_text())["state"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


def until(true: Callable[[], bool], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def members(session: int) -> list[str]:
    """Return the processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def server_of(process: "subprocess.Popen[bytes]") -> int:
    """Return the process id of a command's temporary Prefect server."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    named = [p for p in pids if "temporary_server" in Path(f"/proc/{p}/cmdline").read_text()]
    (found,) = named
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    ("numbers", "code", "word"),
    [
        ([signal.SIGINT, signal.SIGINT], 130, "interrupted"),  # Ctrl-C, and once more
        ([signal.SIGTERM], 143, "stopped"),
    ],
)
def test_a_signal_to_the_process_group_cancels_a_run(
    scene: Scene, numbers: list[signal.Signals], code: int, word: str
) -> None:
    before = len(scene.assets())
    process = scene.start()
    scene.reach(process, before + 2)
    server = server_of(process)
    for number in numbers:
        os.killpg(process.pid, number)
        time.sleep(0.2)
    assert process.wait(120) == code
    said = scene.log.read_text()
    assert "Traceback" not in said
    assert said.splitlines()[-1] == f"stylegallery: {word}; the same command goes on from here"
    assert scene.state() == "cancelled"
    assert list((scene.run / "ledger").iterdir())
    assert not (scene.run / "lock.json").exists()
    until(lambda: not members(process.pid), 15)
    assert not Path(f"/proc/{server}").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_a_run_goes_on_and_ends_without_its_prefect_server(scene: Scene) -> None:
    before = scene.assets()
    process = scene.start()
    scene.reach(process, len(before) + 1)
    os.kill(server_of(process), signal.SIGKILL)
    assert process.wait(240) == 0
    said = scene.log.read_text()
    assert "Traceback" not in said
    warnings = [line for line in said.splitlines() if "WARNING" in line]
    busy = [line for line in warnings if "stylegallery.threads" in line]  # of this machine's load
    assert len(warnings) - len(busy) == 1
    assert "the Prefect server went away" in said
    assert str(scene.run / "report" / "index.html") in said
    assert scene.state() == "finished"
    assert (scene.run / "_SUCCESS").exists()
    assert verify(str(scene.out), scene.run.name).ok
    after = scene.assets()
    assert len(after) == ITEMS
    assert before.items() <= after.items()  # nothing is made twice
