"""Some seconds of deterministic fuzzing; `python -m tests.fuzz` does more."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from stylegallery.images import opening
from tests.fuzz import __main__ as fuzz
from tests.fuzz.cases import STRATEGIES, broken
from tests.fuzz.targets import Finding, Target, check, targets

NAMES = ["image", "labels", "grey", "note", "routing", "catalog", "galleries", "csv", "jsonl"]


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, Target]]:
    most = opening.MAX_PIXELS
    yield targets()
    opening.MAX_PIXELS = most


@pytest.mark.filterwarnings("ignore")  # Pillow warns about broken files
@pytest.mark.parametrize("name", NAMES)
def test_broken_files_end_as_a_result_or_a_sentence(name: str, readers: dict[str, Target]) -> None:
    assert set(readers) == set(NAMES)

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(STRATEGIES.get(name, broken)(readers[name].seeds))
    def attempt(data: bytes) -> None:
        check(readers[name], data)

    attempt()


FOUND = sorted(Path(__file__).with_name("found").glob("*.bin"))


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.stem)
def test_what_was_found_stays_mended(file: Path) -> None:
    """Runs in a process of its own, because some files used to crash it."""
    code = (
        "import sys; from tests.fuzz.targets import check, targets\n"
        "print(check(targets()[sys.argv[1]], open(sys.argv[2], 'rb').read()))"
    )
    command = [sys.executable, "-c", code, file.stem.partition("-")[0], str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_good_files_are_read(readers: dict[str, Target]) -> None:
    for name in ("catalog", "galleries"):
        ends = [check(readers[name], seed) for seed in readers[name].seeds]
        assert ends.count("ok") == len(ends) / 2  # the other half are manifests of the other kind
    for name in ("csv", "jsonl", "note"):
        assert {check(readers[name], seed) for seed in readers[name].seeds} == {"ok"}


@pytest.mark.parametrize("read", [lambda _: 1 / 0, lambda _: open("/nowhere")])  # noqa: SIM115
def test_what_a_reader_must_not_do_is_a_finding(read: object) -> None:
    with pytest.raises(Finding, match="came through"):
        check(Target(read, (KeyError,), []), b"")  # type: ignore[arg-type]


def test_a_child_that_hangs_is_ended_and_its_file_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "_HANG_SECONDS", 1.0)
    (tmp_path / "image.now").write_bytes(b"slow")
    with (tmp_path / "child.log").open("w") as log:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stderr=log)
        code = fuzz._watched(child, tmp_path)
    fuzz._keep_last(tmp_path, 7, code)
    assert code == -signal.SIGABRT
    assert (tmp_path / "image-crash-7.bin").read_bytes() == b"slow"
    assert (tmp_path / "child-crash-7.txt").exists()


@pytest.mark.slow
def test_the_command_runs_children_and_counts_findings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--minutes", "0.05", "--only", "routing"]
    done = subprocess.run([*command, "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 findings" in done.stdout
