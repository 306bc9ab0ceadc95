"""The deployments on a real Prefect server: started and cancelled through its API."""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from prefect.states import Cancelling

from schemas.arrow import to_table
from schemas.manifest import CatalogRow, GalleryRow
from schemas.run import RestyleSpec
from tasks import planning
from tasks.records.ledger import read_ledger
from tasks.results.verify import verify
from tests.flows.prefect_server import Prefect, server, serving, until
from tests.tasks.pictures import noise, save
from tests.tiny_model import write_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(600)]

SECRET = "planted-Secret/Key+0123456789abcdef"


@pytest.fixture(scope="module")
def ray_logs() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir="/tmp"
    ) as home:  # short, for the paths of its sockets
        yield Path(home)


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory, ray_logs: Path) -> Iterator[Prefect]:
    secrets = {"AWS_ACCESS_KEY_ID": "AKIAPLANTED000000000", "AWS_SECRET_ACCESS_KEY": SECRET}
    logs = {"STYLEGALLERY_LOG_FORMAT": "json", "RAY_TMPDIR": str(ray_logs)}
    with server(tmp_path_factory.mktemp("served"), more=secrets | logs) as found, serving(found):
        yield found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def make_spec(home: Path, model: Path, photos: list[CatalogRow], **more: Any) -> RestyleSpec:
    save(home / "cup.png", noise(64, 64))
    save(home / "wheat.png", noise(72, 64))
    style = GalleryRow(gallery_id="field", style_id="wheat", image_uri="wheat.png")
    pq.write_table(to_table(photos, CatalogRow), home / "catalog.parquet")
    pq.write_table(to_table([style], GalleryRow), home / "galleries.parquet")
    return RestyleSpec.model_validate(
        {
            "catalog": str(home / "catalog.parquet"),
            "galleries": [str(home / "galleries.parquet")],
            "output": str(home / "out"),
            "params": {"steps": 1, "inversion_steps": 2, "max_regions": 2},
            "engine": {"model": str(model)},
            "pool": {"chunk_size": 2},
            **more,
        }
    )


def test_a_run_started_in_the_ui_ends_with_its_state_artifacts_and_outputs(
    prefect: Prefect, tmp_path: Path, model: Path, ray_logs: Path
) -> None:
    photos = [CatalogRow(product_id=f"p{i}", image_uri="cup.png", seed=i) for i in range(2)]
    photos.append(CatalogRow(product_id="gone", image_uri="gone.png"))
    spec = make_spec(tmp_path, model, photos, gates=["ssim >= 1"])
    run = prefect.start("restyle-catalog/stylegallery", spec.model_dump(mode="json"))
    state = prefect.ended(run)
    assert (state.type.value, state.name) == ("COMPLETED", "Completed with failures")
    assert state.message == "2 of 3 restyled, 2 flagged, 1 rejected"
    flow_run = prefect.ask(lambda client: client.read_flow_run(run))
    assert flow_run.name == "catalog in galleries"
    assert "stylegallery" in flow_run.tags

    plan = planning.make_plan(spec)
    assert verify(spec.output, plan.run_id).ok
    found = prefect.artifacts(run)
    assert set(found) == {
        "restyle-progress", "restyle-report", "restyle-failures", "report-link", "output-link",
    }  # fmt: skip
    assert found["restyle-progress"] == 100
    assert "2 of 3 restyled" in found["restyle-report"]
    assert "items an hour" in found["restyle-report"]
    assert "ssim is" in found["restyle-report"]
    assert Path(plan.files.report.uri).as_uri() in found["report-link"]
    assert "gone.png not found" in json.dumps(found["restyle-failures"])
    logs = prefect.logs(run)
    assert "gone/main in field (item " in logs

    told = [logs, json.dumps(found), prefect.log.read_text(errors="replace")]
    told += [path.read_text(errors="replace") for path in Path(spec.output, "runs").rglob("*.json")]
    told.append(Path(plan.files.report.uri).read_text())
    actors = "".join(path.read_text() for path in ray_logs.rglob("worker-*.err"))
    assert not any(SECRET in text or "AKIAPLANTED" in text for text in [*told, actors])
    _check_lines(prefect.log.read_text(), actors, plan.run_id, str(run))


def _check_lines(driver: str, actors: str, run_id: str, flow_run: str) -> None:
    """Check the JSON log lines: one of the rejected item, and one for the end of each item."""
    lines = [json.loads(line) for line in driver.splitlines() if line.startswith("{")]
    (bad,) = [line for line in lines if "gone/main in field" in line["message"]]
    assert (bad["product_id"], bad["gallery_id"]) == ("gone", "field")
    assert (bad["run_id"], bad["levelname"]) == (run_id, "WARNING")
    assert any(line.get("flow_run_id") == flow_run for line in lines)
    ends = [json.loads(line) for line in actors.splitlines() if line.startswith("{")]
    ended = {line["product_id"]: line["status"] for line in ends if "status" in line}
    assert ended == {"p0": "ok", "p1": "ok", "gone": "rejected"}
    assert {line["run_id"] for line in ends} == {run_id}
    assert all(line["plan_part"] for line in ends if "status" in line)


def test_too_many_failures_fail_the_flow_run_and_keep_what_is_done(
    prefect: Prefect, tmp_path: Path, model: Path
) -> None:
    names = ("cup", "gone", "lost")
    photos = [CatalogRow(product_id=name, image_uri=f"{name}.png") for name in names]
    spec = make_spec(tmp_path, model, photos, max_failed_fraction=0.5)
    state = prefect.ended(
        prefect.start("restyle-catalog/stylegallery", spec.model_dump(mode="json"))
    )
    assert state.type.value == "FAILED"
    assert "1 of 3 restyled, 2 rejected; at most 50% may be rejected or fail" in (
        state.message or ""
    )
    assert verify(spec.output, planning.make_plan(spec).run_id).ok


def test_a_preview_is_taken_over_by_the_run_after_it(
    prefect: Prefect, tmp_path: Path, model: Path
) -> None:
    photos = [CatalogRow(product_id=f"p{i}", image_uri="cup.png", seed=i) for i in range(9)]
    spec = make_spec(tmp_path, model, photos)
    given = {**spec.model_dump(mode="json"), "products": 3, "seed": 1}
    state = prefect.ended(prefect.start("preview/stylegallery", given))
    assert state.name == "Completed", state.message
    plan = planning.make_plan(spec)
    assert (plan.counts.items, plan.counts.done) == (9, 3)


def test_a_prepared_gallery_and_an_evaluated_run(
    prefect: Prefect, tmp_path: Path, model: Path
) -> None:
    spec = make_spec(tmp_path, model, [CatalogRow(product_id="p", image_uri="cup.png")])
    given = spec.model_dump(mode="json")
    fields = ("galleries", "output", "gallery_ids", "params", "engine", "pool")
    prepare = {name: given[name] for name in fields}
    state = prefect.ended(prefect.start("prepare-gallery/stylegallery", prepare))
    assert state.message == "all references can be used"
    assert len(list(Path(spec.output, "prepared").rglob("*.safetensors"))) == 1
    assert prefect.ended(prefect.start("restyle-catalog/stylegallery", given)).is_completed()
    assert len(list(Path(spec.output, "prepared").rglob("*.safetensors"))) == 2  # the photo's
    plan = planning.make_plan(spec)
    judge = {"output": spec.output, "run_id": plan.run_id, "gates": ["ssim >= 1"]}
    state = prefect.ended(prefect.start("evaluate-run/stylegallery", judge))
    assert state.is_completed(), state.message
    assert "1 flagged" in Path(plan.files.report.uri).read_text()


def test_a_form_with_nonsense_is_refused_at_submit(
    prefect: Prefect, tmp_path: Path, model: Path
) -> None:
    given = make_spec(tmp_path, model, []).model_dump(mode="json")
    for name, value in (
        ("gates", ["beauty >= 1"]),
        ("catalog", "http://x/c"),
        ("max_failed_fraction", 2),
    ):
        with pytest.raises(Exception, match=r"409|422|Error validating"):
            prefect.start("restyle-catalog/stylegallery", {**given, name: value})


def test_a_cancelled_run_keeps_what_is_done_and_stops_its_engines(
    prefect: Prefect, tmp_path: Path, model: Path
) -> None:
    photos = [CatalogRow(product_id=f"p{i}", image_uri="cup.png", seed=i) for i in range(300)]
    spec = make_spec(tmp_path, model, photos)
    plan = planning.make_plan(spec)
    run = prefect.start("restyle-catalog/stylegallery", spec.model_dump(mode="json"))
    until(lambda: len(read_ledger(plan.files)) > 3)
    record = json.loads(Path(plan.files.record.uri).read_text())
    assert record["state"] == "running"
    assert Path(plan.files.lock.uri).exists()
    prefect.ask(lambda client: client.set_flow_run_state(run, Cancelling()))
    assert prefect.ended(run).name == "Cancelled"
    record = json.loads(Path(plan.files.record.uri).read_text())
    assert record["state"] == "cancelled"
    assert not Path(plan.files.lock.uri).exists()
    assert not Path(plan.files.success.uri).exists()
    done = len(read_ledger(plan.files))
    assert 3 < done < 300
    pictures = len(list(Path(spec.output, "assets").rglob("*.png")))
    time.sleep(3)
    assert len(list(Path(spec.output, "assets").rglob("*.png"))) == pictures  # no actor continues
    again = planning.make_plan(spec)
    assert (again.run_id, again.counts.done) == (plan.run_id, done)
