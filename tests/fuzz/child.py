"""One process that fuzzes within limits; its current input is in a file, in case it crashes."""

import argparse
import faulthandler
import hashlib
import resource
import sys
import time
import traceback
from collections import Counter, deque
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import NOW
from tests.fuzz.cases import STRATEGIES, broken
from tests.fuzz.targets import Finding, Target, check, targets

MAX_ADDRESSES = 24 * 2**30
"""Limit of the address space in bytes; libraries reserve most of it without using it."""
_ROUND = 500

Reader = tuple[Target, st.SearchStrategy[bytes]]
"""A reader and the strategy of its inputs."""


def main() -> None:
    """Fuzz all readers in turn until the time is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    words = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESSES, MAX_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    known = targets()
    chosen = {
        name: (known[name], STRATEGIES.get(name, broken)(known[name].seeds))
        for name in words.only or known
    }
    names = deque(chosen)
    names.rotate(-words.seed)  # a child may not have time for all of them
    end, number, ends = time.monotonic() + words.seconds, words.seed * 1000, Counter[str]()
    while time.monotonic() < end:
        for name in names:
            if time.monotonic() < end:
                number += 1
                _round(name, chosen[name], number, words.out, ends)
    print(" ".join(f"{name}={count}" for name, count in sorted(ends.items())), flush=True)


def _round(name: str, reader: Reader, number: int, out: Path, ends: Counter[str]) -> None:
    """Give a reader some hundred inputs."""
    target, files = reader

    @seed(number)
    @settings(
        max_examples=_ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(files)
    def attempt(data: bytes) -> None:
        now.seek(0)
        now.truncate()
        now.write(data)
        now.flush()
        try:
            said = check(target, data)
            ends[f"{name}:{'ok' if said == 'ok' else 'refused'}"] += 1
        except Finding as finding:
            ends[f"{name}:FOUND"] += 1
            _keep(out, name, data, finding)

    with (out / f"{name}{NOW}").open("wb") as now:
        attempt()
    (out / f"{name}{NOW}").unlink()


def _keep(out: Path, name: str, data: bytes, finding: Finding) -> None:
    """Save the smallest input of a finding."""
    text = "".join(traceback.format_exception(finding))
    cause = finding.__cause__
    frames = traceback.extract_tb(cause.__traceback__) if cause else []
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(finding)[:60]
    kind = hashlib.sha256(f"{name} {type(cause)} {place}".encode()).hexdigest()[:10]
    file = out / f"{name}-{kind}.bin"
    if not file.exists() or len(data) < file.stat().st_size:
        file.write_bytes(data)
        file.with_suffix(".txt").write_text(text)
    print(f"{name}: {str(finding)[:200]!r}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
