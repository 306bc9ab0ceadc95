"""`python -m tests.fuzz`: fuzzes in child processes, so that crashes and hangs are found too."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

_CHILD_SECONDS = 60.0


def main() -> int:
    """Fuzz for some minutes; exit code 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--only", nargs="*", default=[], help="names of readers")
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    end, seed = time.monotonic() + 60 * words.minutes, words.seed
    while (left := end - time.monotonic()) > 1:
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.child"]
        command += ["--seed", str(seed), "--seconds", str(min(left, _CHILD_SECONDS))]
        command += ["--out", str(words.out), *(["--only", *words.only] if words.only else [])]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        sys.stderr.write(done.stderr)
        if done.returncode:
            _keep_last(words.out, seed, done)
        seed += 1
    found = sorted(path.name for path in words.out.glob("*-*.txt"))
    print(f"{len(found)} findings in {words.out}", *found, sep="\n  ")
    return 1 if found else 0


def _keep_last(out: Path, seed: int, done: subprocess.CompletedProcess[str]) -> None:
    """Save what the child was at when it ended: a crash of a library, or a hang."""
    now = out / "now.bin"
    if now.exists():
        name = (out / "now.txt").read_text()
        now.rename(out / f"{name}-crash-{seed}.bin")
    (out / f"child-crash-{seed}.txt").write_text(f"exit code {done.returncode}\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
