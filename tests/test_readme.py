"""Runs the commands of README.md as they are written, or checks the options of long ones."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from schemas.arrow import from_table
from schemas.benchmark import BenchmarkRow
from stylegallery.benchmark.table import comparison_table
from tests.documents import ROOT, block, commands
from tests.tasks.pictures import noise, save

LONG = ("python -m tests.", "stylegallery benchmark ")
"""Commands that take hours. Other tests run small forms of them; here their options are checked."""

WALK = [
    "stylegallery manifest catalog photos/ --out catalog.parquet",
    "stylegallery manifest gallery references/ --out galleries.parquet",
    "stylegallery plan --catalog catalog.parquet --galleries galleries.parquet --output restyled",
    "stylegallery run --catalog catalog.parquet --galleries galleries.parquet --output restyled",
    "stylegallery verify restyled --run RUN_ID",
    'stylegallery evaluate restyled --run RUN_ID --gate "ssim >= 0.5" '
    '--gate "protected_difference <= 0"',
    "stylegallery explain restyled --run RUN_ID --product dress-17 --out why",
    "stylegallery stylize --content dress.jpg --style wheat.jpg --style night.jpg --out dress.png",
]


def typed() -> list[str]:
    return [command.text for command in commands("README.md")]


def test_every_command_is_typed_by_a_test() -> None:
    rest = [text for text in typed() if not text.startswith(LONG)]
    assert {text for text in rest if not text.startswith("make ")} == set(WALK)
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(text in ci for text in rest if text.startswith("make "))


@pytest.mark.parametrize(
    "command",
    sorted(
        command.text
        for document in ("README.md", "tests/benchmarks/README.md")
        for command in set(commands(document))
        if command.text.startswith(LONG)
    ),
)
def test_a_long_command_has_the_options_that_are_named(command: str) -> None:
    words = command.split(" --")[0].replace("python", sys.executable).split()
    done = shell(" ".join([*words, "--help"]), ROOT)
    assert set(re.findall(r"--[a-z-]+", command)) <= set(re.findall(r"--[a-z-]+", done))


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(900)
def test_a_reader_who_types_all_of_it_gets_what_it_says(tmp_path: Path) -> None:
    for name in ("photos/dress-17.jpg", "photos/cup.jpg", "dress.jpg", "wheat.jpg", "night.jpg"):
        save(tmp_path / name, noise(96, 80))
    for name in ("field/wheat.jpg", "field/hay.jpg", "ink/brush.png"):
        save(tmp_path / "references" / name, noise(80, 96)[::-1].copy())
    run_id = ""
    for command in WALK:
        said = shell(command.replace("RUN_ID", run_id), tmp_path)
        run_id = run_id or "".join(re.findall(r"^run (\S+)$", said, re.MULTILINE))
        assert said, command
    restyled = tmp_path / "restyled"
    assert len(list((restyled / "assets").rglob("*.png"))) == 4
    page = restyled / "runs" / run_id / "report" / "index.html"
    assert "dress-17" in page.read_text()
    assert (tmp_path / "why").is_dir()
    assert (tmp_path / "dress.png").exists()
    code = block("README.md", "python").replace("RUN_ID", run_id)
    (tmp_path / "rows.py").write_text(f"{code}\nassert len(rows) >= 4\n")
    shell(f"{sys.executable} rows.py", tmp_path)


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(900)
def test_the_engine_is_used_from_python_as_it_says(tmp_path: Path) -> None:
    for name in ("dress.jpg", "wheat.jpg", "night.jpg"):
        save(tmp_path / name, noise(96, 80))
    code = block("README.md", "python", 1)
    kept = "open('out.png', 'wb').write(codec.encode(result.picture, 'png'))"
    (tmp_path / "one.py").write_text(f"{code}\n{kept}\n")
    shell(f"{sys.executable} one.py", tmp_path)
    with Image.open(tmp_path / "dress.jpg") as before, Image.open(tmp_path / "out.png") as after:
        assert after.size == before.size
        assert after.tobytes() != before.tobytes()


def shell(command: str, folder: Path) -> str:
    """Run a command that must succeed, and return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, "STYLEGALLERY_STEPS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout + done.stderr


def test_the_methods_tables_are_those_of_the_recorded_rows() -> None:
    rows = from_table(pq.read_table(ROOT / "tests/benchmarks/side_by_side.parquet"), BenchmarkRow)
    table = comparison_table(list(rows))
    for name in ("tests/benchmarks/README.md", "stylegallery/embedded/README.md"):
        assert table in (ROOT / name).read_text()
