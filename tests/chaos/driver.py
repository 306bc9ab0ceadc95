"""The driver of a run as a process of its own: `python -m tests.chaos.driver SPEC.json`."""

import os
import subprocess
import sys
from pathlib import Path

from schemas.run import RestyleSpec
from tasks import planning
from tasks.execution import execute
from tasks.records.lock import holding
from tasks.results import finalize

_ROOT = Path(__file__).resolve().parents[2]


def main(spec_file: str) -> None:
    """Do a run from plan to `_SUCCESS`."""
    spec = RestyleSpec.model_validate_json(Path(spec_file).read_text())
    plan = planning.make_plan(spec)
    with holding(plan.files):
        planning.write_plan(plan)
        execute.execute(plan)
        finalize.finalize(spec, plan.run_id, plan)


class Driver:
    """Starts drivers of one run, one after the other; what they say goes into one log."""

    def __init__(self, spec: RestyleSpec, folder: Path, name: str) -> None:
        self._spec = folder / f"{name}.json"
        self._spec.write_text(spec.model_dump_json())
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start a driver; the one before has ended."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.driver", str(self._spec)],
                cwd=_ROOT,
                env={**os.environ, "PYTHONPATH": str(_ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def exit_code(self) -> int | None:
        """How it ended, None while it has not."""
        return self._process.poll() if self._process else None

    def kill(self) -> None:
        """SIGKILL it, if it still runs."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def said(self) -> str:
        """The end of the log, without what Ray tells of each death that we caused."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        lines = (line for line in text.splitlines() if "(raylet)" not in line)
        return "\n".join(list(lines)[-60:])


if __name__ == "__main__":
    main(sys.argv[1])
