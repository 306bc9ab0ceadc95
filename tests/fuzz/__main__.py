"""`python -m tests.fuzz`: fuzzes in child processes, to find crashes and hangs too."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.fuzz import NOW

_OUT = Path(tempfile.gettempdir(), "stylegallery-fuzz")
_CHILD_SECONDS = 60.0
_HANG_SECONDS = 30.0
"""Seconds at one input after which a child counts as hung."""


def main() -> int:
    """Fuzz for some minutes; return 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=_OUT)
    parser.add_argument("--only", nargs="*", default=[], help="names of readers")
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    end, seed = time.monotonic() + 60 * words.minutes, words.seed
    while (left := end - time.monotonic()) > 1:
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.child"]
        command += ["--seed", str(seed), "--seconds", str(min(left, _CHILD_SECONDS))]
        command += ["--out", str(words.out), *(["--only", *words.only] if words.only else [])]
        log = words.out / "child.log"
        with log.open("w") as said:
            code = _watched(subprocess.Popen(command, stderr=said), words.out)
        sys.stderr.write(log.read_text(errors="replace"))
        if code:
            _keep_last(words.out, seed, code)
        seed += 1
    found = sorted(path.name for path in words.out.glob("*-*.txt"))
    print(f"{len(found)} findings in {words.out}", *found, sep="\n  ")
    return 1 if found else 0


def _watched(child: "subprocess.Popen[bytes]", out: Path) -> int:
    """Wait for a child; abort one that hangs, which prints its stack."""
    alive = time.time()
    while (code := child.poll()) is None:
        time.sleep(0.5)
        with suppress(FileNotFoundError):  # the child has started the next input
            alive = max(map(os.path.getmtime, _now(out)), default=time.time())
        if time.time() - alive > _HANG_SECONDS:
            child.send_signal(signal.SIGABRT)
    return code


def _keep_last(out: Path, seed: int, code: int) -> None:
    """Save the input and the log of a child that crashed or hung."""
    for path in _now(out):
        path.rename(out / f"{path.stem}-crash-{seed}.bin")
    log = (out / "child.log").read_text(errors="replace")
    (out / f"child-crash-{seed}.txt").write_text(f"exit code {code}\n{log}")


def _now(out: Path) -> list[Path]:
    return list(out.glob(f"*{NOW}"))


if __name__ == "__main__":
    sys.exit(main())
