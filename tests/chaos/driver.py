"""The driver of a run as a process of its own: `python -m tests.chaos.driver SPEC.json`."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, NoReturn

from schemas.run import RestyleSpec
from tasks import planning
from tasks.execution import execute, learn
from tasks.records import lock as run_lock
from tasks.records.lock import RunLostError, hold_run
from tasks.results import finalize

LOST = 75
"""Exit code of a driver whose run was taken over."""
_BEAT_SECONDS = 1.0
_SKEW, _FULL = "CHAOS_SKEW", "CHAOS_FULL"
"""Variables: seconds by which the driver's clock is off; whether its disk is full."""

_ROOT = Path(__file__).resolve().parents[2]


def main(spec_file: str) -> None:
    """Do a run from plan to `_SUCCESS`, as the flow does, without Prefect."""
    run_lock.BEAT_SECONDS = _BEAT_SECONDS
    _skew_clock(float(os.environ.get(_SKEW, "0")))
    if os.environ.get(_FULL):
        _fill_disk()
    spec = RestyleSpec.model_validate_json(Path(spec_file).read_text())
    plan = planning.make_plan(spec)
    with hold_run(plan.files) as lock:
        try:
            planning.write_plan(plan)
            learn.learn(plan, lambda _: lock.check())
            execute.execute(plan, lambda _: lock.check())
            lock.verify()
            finalize.finalize(spec, plan.run_id, plan)
        except Exception:
            lock.verify()
            raise


def _skew_clock(seconds: float) -> None:
    """Shift the clocks that our own code reads in this process."""
    shift, right = timedelta(seconds=seconds), time.time_ns

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + shift

    time.time_ns = lambda: right() + int(seconds * 1e9)
    for module in (planning, finalize):
        vars(module)["datetime"] = Skewed


def _fill_disk() -> None:
    """Make every write of a local file fail, as on a full disk."""

    def full(path: Path, *_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    Path.write_bytes = full  # type: ignore[method-assign]


class Driver:
    """Starts successive drivers of one run, which share a log."""

    def __init__(
        self, spec: RestyleSpec, folder: Path, name: str, holder: Callable[[], int]
    ) -> None:
        """Prepare the run.

        Args:
            spec: Settings of the run.
            folder: For the settings file and the log.
            name: Of these files.
            holder: Returns the process id that holds the run's lock, or 0.
        """
        self._spec = folder / f"{name}.json"
        self._spec.write_text(spec.model_dump_json())
        self.log = folder / f"{name}.log"
        self._holder = holder
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: subprocess.Popen[bytes] | None = None
        self.disk_full = False

    def start(self, skew: float = 0.0, *, disk_full: bool = False) -> None:
        """Start a driver; the previous one has ended or is frozen."""
        self.disk_full = disk_full
        faults = {_SKEW: str(skew), **({_FULL: "1"} if disk_full else {})}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.driver", str(self._spec)],
                cwd=_ROOT,
                env={**os.environ, **faults, "PYTHONPATH": str(_ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def exit_code(self) -> int | None:
        """Exit code of the driver, or None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def holds(self) -> bool:
        """True while the driver holds the lock of the run."""
        return self._process is not None and self._holder() == self._process.pid

    @property
    def frozen(self) -> bool:
        """True while a frozen driver has not ended."""
        return self._frozen is not None

    def freeze(self) -> None:
        """Stop the driver as a suspended machine does; another may start then."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self._frozen = self._process

    def thaw(self) -> None:
        """Continue the frozen driver."""
        if self._frozen:
            self._frozen.send_signal(signal.SIGCONT)

    def thawed_exit(self) -> int | None:
        """Return the exit code of the driver that was frozen, or None while it runs."""
        code = self._frozen.poll() if self._frozen else None
        if code is not None:
            self._frozen = None
        return code

    def kill(self) -> None:
        """Send SIGKILL to the driver, if it runs."""
        _kill(self._process)

    def kill_all(self) -> None:
        """Send SIGKILL to the driver and the frozen one."""
        _kill(self._process)
        _kill(self._frozen)

    def said(self) -> str:
        """Return the end of the log, without Ray's messages about the killed processes."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        lines = (line for line in text.splitlines() if "(raylet)" not in line)
        return "\n".join(list(lines)[-60:])


def _kill(process: "subprocess.Popen[bytes] | None") -> None:
    if process and process.poll() is None:
        process.kill()
        process.wait()


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except RunLostError as error:
        print(error, file=sys.stderr)
        sys.exit(LOST)
