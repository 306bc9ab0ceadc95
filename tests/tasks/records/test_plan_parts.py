"""The tables of a plan: items, references stored once, and plans of earlier versions."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from schemas.arrow import to_table
from schemas.run import RestyleSpec
from schemas.work import WorkItem
from tasks import planning
from tasks.errors import FileMissing, RecordError
from tasks.planning import Plan
from tasks.records.plan_parts import PlanItems, RunPlan, read_parts
from tests.tasks.conftest import MakeSpec

MOST_MB = 700


def written(make_spec: MakeSpec) -> Plan:
    plan = planning.make_plan(make_spec(products=2))
    planning.write_plan(plan)
    return plan


def read_back(plan: Plan) -> list[WorkItem]:
    kept = RunPlan(plan.files)
    return [item for name, _ in read_parts(plan.files) for item in kept.items(kept.part(name))]


def as_before(plan: Plan) -> None:
    """Write parts like an earlier version: each item with the references of its gallery."""
    shutil.rmtree(plan.files.plan_styles.uri)
    items = list(plan.items)
    for name, part in plan.items.parts():
        own = [item for item in items if item.gallery_id == part["gallery_id"][0].as_py()]
        table = to_table(own, WorkItem).drop_columns(["problem"])
        pq.write_table(table, f"{plan.files.plan}/{name}")


def test_references_are_written_once(make_spec: MakeSpec) -> None:
    plan = written(make_spec)
    items = ds.dataset(plan.files.plan.uri).to_table()
    assert "styles" not in items.schema.names
    assert len(items) == 4
    rows = pq.read_table(f"{plan.files.plan_styles}/part-00000.parquet").to_pylist()
    assert [(row["gallery_id"], row["style_id"]) for row in rows] == [
        ("coffee", "cup"),
        ("coffee", "table"),
        ("rocket", "sky"),
    ]
    found = read_back(plan)
    assert found == list(plan.items)
    assert found[0].styles is found[1].styles  # so that a lease holds them once


def test_plans_with_references_in_each_item_are_resumed(make_spec: MakeSpec) -> None:
    plan = written(make_spec)
    as_before(plan)
    assert read_back(plan) == list(plan.items)
    again = written(make_spec)
    assert again.run_id == plan.run_id
    assert "styles" not in ds.dataset(plan.files.plan.uri).schema.names
    assert read_back(plan) == list(plan.items)


def test_incomplete_plans_are_reported(make_spec: MakeSpec) -> None:
    plan = written(make_spec)
    path = Path(plan.files.plan_styles.uri, "part-00000.parquet")
    pq.write_table(pq.read_table(path).slice(2), path)
    with pytest.raises(RecordError, match="lacks gallery 'coffee'; run the same command again"):
        read_back(plan)
    shutil.rmtree(plan.files.plan_styles.uri)
    with pytest.raises(RecordError, match="lacks the columns styles"):
        read_back(plan)
    shutil.rmtree(plan.files.plan.uri)
    with pytest.raises(FileMissing, match="holds no plan"):
        read_back(plan)


MEASURED = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
CODE = """
import re, sys
from pathlib import Path
from schemas.run import RestyleSpec
from tasks import planning
from tasks.execution.execute import assignments
spec = RestyleSpec.model_validate_json(Path(sys.argv[1]).read_text())
plan = planning.make_plan(spec)
planning.write_plan(plan)
next(assignments(plan, plan.completed))
largest = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(plan.counts.todo, int(largest[1]) // 1024)
"""


def planned_elsewhere(spec: RestyleSpec, folder: Path) -> tuple[int, int]:
    """Plan in a new process; return the number of items to do and the peak memory in MB."""
    (folder / "spec.json").write_text(spec.model_dump_json())
    command = [sys.executable, "-c", CODE, str(folder / "spec.json")]
    root = Path(__file__).parents[3]
    said = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    todo, size = said.split()
    return int(todo), int(size)


@pytest.mark.slow
@MEASURED
def test_thousands_of_references_and_photos_fit_into_memory(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(products=1)
    photos, references = 4_000, 5_000
    columns = {
        "product_id": [f"p{i}" for i in range(photos)],
        "image_uri": ["p0.png"] * photos,
    }
    pq.write_table(pa.table(columns), spec.catalog)
    columns = {
        "gallery_id": ["g"] * references,
        "style_id": [f"s{i}" for i in range(references)],
        "image_uri": ["s0.png"] * references,
        "attribution": ["y" * 2_000] * references,
    }
    pq.write_table(pa.table(columns), spec.galleries[0])
    todo, size = planned_elsewhere(spec, tmp_path)
    assert todo == photos
    assert size < MOST_MB


@pytest.mark.slow
@MEASURED
@pytest.mark.parametrize("dictionary", [False, True])
def test_rows_of_long_text_fit_into_memory(
    make_spec: MakeSpec, tmp_path: Path, dictionary: bool
) -> None:
    spec = make_spec(products=1)
    rows, some = 4_000, 500
    names = [(name, pa.string()) for name in ("product_id", "image_uri", "story")]
    with pq.ParquetWriter(
        spec.catalog, pa.schema(names), compression="zstd", use_dictionary=dictionary
    ) as writer:
        for begin in range(0, rows, some):
            numbers = range(begin, begin + some)
            columns = {
                "product_id": [f"p{i}" for i in numbers],
                "image_uri": ["p0.png"] * some,
                "story": [f"{i:06d}" + "x" * 99_000 for i in numbers],
            }
            writer.write_table(pa.table(columns))
    todo, size = planned_elsewhere(spec.model_copy(update={"gallery_ids": ["rocket"]}), tmp_path)
    assert todo == rows
    assert size < MOST_MB


def test_folders_of_killed_processes_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import os, signal; from tasks.records.plan_parts import PlanItems; "
        "items = PlanItems([]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(tmp_path)})
    (left,) = tmp_path.iterdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living = PlanItems([])
    (held,) = set(tmp_path.iterdir()) - {left}
    for folder in (left, held):
        os.utime(folder, (folder.stat().st_mtime - 100,) * 2)
    last = PlanItems([])
    assert not left.exists()
    assert held.exists()
    del living, last
    assert not list(tmp_path.iterdir())
