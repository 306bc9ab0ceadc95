"""Equal inputs give equal plans; a change that affects pixels changes the items."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from schemas.run import PoolSpec, RestyleSpec
from stylegallery.errors import UnsupportedModel
from tasks import planning
from tasks.errors import ManifestError, PlanError
from tasks.planning import versions
from tasks.records.plan_parts import read_parts
from tests.tasks.conftest import PARAMS, MakeSpec, write_catalog


def test_planning_needs_neither_torch_nor_ray() -> None:
    code = "import sys, tasks.planning, tasks.execution.execute\n"
    code += "import tasks.results.finalize, tasks.results.verify\n"
    code += "heavy = {'torch', 'diffusers', 'transformers', 'ray', 'prefect'} & set(sys.modules)\n"
    code += "sys.exit(', '.join(sorted(heavy)) or None)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_items_are_grouped_by_gallery_in_catalog_order(make_spec: MakeSpec) -> None:
    plan = planning.make_plan(make_spec(products=2))
    order = [(item.gallery_id, item.product_id) for item in plan.items]
    assert order == [("coffee", "p0"), ("coffee", "p1"), ("rocket", "p0"), ("rocket", "p1")]
    assert [style.style_id for style in next(iter(plan.items)).styles] == ["cup", "table"]
    counts = plan.counts
    assert (counts.items, counts.done, counts.todo) == (4, 0, 4)
    assert (counts.products, counts.galleries, counts.styles) == (2, 2, 3)
    assert plan.estimate.seconds > 0


def test_make_plan_writes_nothing(make_spec: MakeSpec) -> None:
    spec = make_spec()
    plan = planning.make_plan(spec)
    assert not Path(spec.output).exists()
    planning.write_plan(plan)
    assert list(read_parts(plan.files)) == list(plan.items.parts())
    before = {path: path.read_bytes() for path in Path(plan.files.plan.uri).rglob("*.parquet")}
    planning.write_plan(planning.make_plan(spec))
    assert {
        path: path.read_bytes() for path in Path(plan.files.plan.uri).rglob("*.parquet")
    } == before


def test_the_same_inputs_elsewhere_are_the_same_run(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    plan = planning.make_plan(spec)
    moved = tmp_path / "in" / ".." / "elsewhere"
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    changes = {
        "catalog": str(moved / "catalog.parquet"),
        "galleries": [f"file://{tmp_path}/elsewhere/galleries.parquet"],
        "output": str(tmp_path / "other"),
        "pool": PoolSpec(actors=3, chunk_size=1),
    }
    again = planning.make_plan(spec.model_copy(update=changes))
    assert again.run_id == plan.run_id
    assert [item.item_id for item in again.items] == [item.item_id for item in plan.items]


def ids(spec: RestyleSpec) -> tuple[str, dict[tuple[str, str], str]]:
    plan = planning.make_plan(spec)
    return plan.run_id, {(i.product_id, i.gallery_id): i.item_id for i in plan.items}


def test_a_changed_photo_changes_its_items_only(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    run, before = ids(spec)
    photo = tmp_path / "in" / "p1.png"
    photo.write_bytes((tmp_path / "in" / "p0.png").read_bytes())
    again, after = ids(spec)
    assert again != run
    assert {key for key in before if before[key] != after[key]} == {
        ("p1", "coffee"),
        ("p1", "rocket"),
    }


def test_a_changed_reference_changes_its_gallery_only(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    run, before = ids(spec)
    (tmp_path / "in" / "s2.png").write_bytes((tmp_path / "in" / "s1.png").read_bytes())
    again, after = ids(spec)
    assert again != run
    assert {key[1] for key in before if before[key] != after[key]} == {"rocket"}


@pytest.mark.parametrize(
    "change",
    [
        {"params": PARAMS.model_copy(update={"steps": 2})},
        {"image_format": "webp"},
        {"quality": 80},
        {"pool": PoolSpec(gpus_per_actor=1)},
    ],
)
def test_parameters_change_every_item(make_spec: MakeSpec, change: dict[str, Any]) -> None:
    run, before = ids(make_spec())
    again, after = ids(make_spec(**change))
    assert again != run
    assert not set(before.values()) & set(after.values())


def test_a_limit_takes_photos_in_all_their_galleries(make_spec: MakeSpec) -> None:
    plan = planning.make_plan(make_spec(limit=2))
    assert [(i.gallery_id, i.product_id) for i in plan.items] == [
        ("coffee", "p0"),
        ("rocket", "p0"),
    ]
    assert plan.run_id != planning.make_plan(make_spec()).run_id


def test_rows_and_gallery_ids_select_galleries(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(products=2)
    write_catalog(tmp_path / "in", 2, galleries=[["rocket"], None], seed=[5, None])
    plan = planning.make_plan(spec)
    assert [(i.gallery_id, i.product_id) for i in plan.items] == [
        ("coffee", "p1"),
        ("rocket", "p0"),
        ("rocket", "p1"),
    ]
    assert [i.seed for i in plan.items][1] == 5
    narrowed = planning.make_plan(spec.model_copy(update={"gallery_ids": ["coffee"]}))
    assert [i.product_id for i in narrowed.items] == ["p1"]
    write_catalog(tmp_path / "in", 1, galleries=[["rocket"]])
    with pytest.raises(PlanError, match="check `gallery_ids`"):
        planning.make_plan(spec.model_copy(update={"gallery_ids": ["coffee"]}))


def test_missing_photos_are_planned(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    (tmp_path / "in" / "p0.png").unlink()
    assert next(iter(planning.make_plan(spec).items)).image_version == "missing"


def test_an_unlicensed_reference_stops_the_plan(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(require_license=True)
    planning.make_plan(spec)
    path = tmp_path / "in" / "galleries.parquet"
    pq.write_table(pq.read_table(path).drop_columns("license"), path)
    with pytest.raises(ManifestError, match=r"coffee/cup \(no license\)"):
        planning.make_plan(spec)


def test_the_device_class_follows_the_request(make_spec: MakeSpec) -> None:
    spec = make_spec()

    def placed(device: str, gpus: float) -> str:
        engine = spec.engine.model_copy(update={"device": device})
        pool = PoolSpec(gpus_per_actor=gpus)
        return versions.device_class(spec.model_copy(update={"engine": engine, "pool": pool}))

    assert [placed("auto", 0), placed("auto", 1), placed("cuda", 0)] == ["cpu", "cuda", "cuda"]
    with pytest.raises(PlanError, match="the device is cpu"):
        placed("cpu", 1)


def test_text_for_a_model_without_text_encoder_ends_the_plan(make_spec: MakeSpec) -> None:
    params = PARAMS.model_copy(update={"prompt": "red wool"})
    with pytest.raises(UnsupportedModel, match=r"takes no text \(it lacks text_encoder"):
        planning.make_plan(make_spec(params=params))
