"""The flow `restyle-catalog`, from manifests to `_SUCCESS`, with a tiny model and real Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from prefect import runtime
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from flows.restyle import restyle_catalog
from schemas.arrow import to_table
from schemas.manifest import CatalogRow, GalleryRow
from schemas.params import GROUPS
from schemas.run import RestyleSpec, RunRecord
from tests.tiny_model import write_tiny_model

SETTINGS = ("--set", "steps=1", "--set", "inversion_steps=2", "--set", "max_regions=2")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, a good photo, a text file as photo, and a gallery of two."""
    root = tmp_path_factory.mktemp("house")
    write_tiny_model(root / "model")
    rng = np.random.default_rng(0)
    for name in ("cup", "wheat", "sky"):
        pixels = rng.integers(0, 255, (64, 72, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{name}.png")
    (root / "text.png").write_text("not an image")
    photos = [CatalogRow(product_id=n, image_uri=f"{n}.png") for n in ("cup", "text")]
    styles = [
        GalleryRow(gallery_id="field", style_id=n, image_uri=f"{n}.png") for n in ("wheat", "sky")
    ]
    pq.write_table(to_table(photos, CatalogRow), root / "catalog.parquet")
    pq.write_table(to_table(styles, GalleryRow), root / "galleries.parquet")
    return root


@pytest.fixture(scope="module")
def learnable(house: Path) -> str:
    """Write a gallery to learn from, and one that is too small for it; return their name."""
    pixels = np.random.default_rng(1).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(house / "linen.png")
    names = {"cloth": "linen", "field": "wheat"}
    rows = [GalleryRow(gallery_id=g, style_id=n, image_uri=f"{n}.png") for g, n in names.items()]
    pq.write_table(to_table(rows, GalleryRow), house / "learnable.parquet")
    return "learnable"


def run(
    house: Path, *more: str, env: dict[str, str] | None = None, name: str = "out"
) -> subprocess.CompletedProcess[str]:
    galleries = house / ("galleries.parquet" if name == "out" else f"{name}.parquet")
    places = ["--catalog", house / "catalog.parquet", "--galleries", galleries]
    places += ["--output", house / name, "--model", house / "model"]
    command = [sys.executable, "-m", "flows.cli.app", "run", *map(str, places), *SETTINGS, *more]
    quick = {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    whole = {**(os.environ if env is None else env), **quick}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=whole)


def hostile(folder: Path) -> dict[str, str]:
    """Return an environment with dead proxies, no home and a long path for temporary files."""
    folder.mkdir()
    dead = "http://127.0.0.1:9"
    proxies = {"http_proxy": dead, "https_proxy": dead, "all_proxy": "socks5://127.0.0.1:9"}
    kept = {name: os.environ[name] for name in ("PATH", "HF_HUB_OFFLINE") if name in os.environ}
    path = os.pathsep.join(sys.path)
    return {**kept, **proxies, "HOME": "/proc/none", "TMPDIR": str(folder), "PYTHONPATH": path}


@pytest.mark.slow
def test_a_run_ends_with_a_report_and_again_with_nothing_to_do(house: Path) -> None:
    """The first run has an environment like that of some clusters."""
    deep = house / ("a-folder-on-a-cluster-" * 4)
    first = run(house, env=hostile(deep))
    assert first.returncode == 3, first.stderr  # one photo is no image
    assert not list(deep.glob("stylegallery-*"))  # the temporary server has removed its folder
    report = Path(first.stdout.strip())
    assert report.name == "index.html"
    assert "1 of 2 restyled, 1 rejected" in first.stderr
    assert "Traceback" not in first.stderr
    folder = report.parents[1]
    record = RunRecord.model_validate_json((folder / "run.json").read_bytes())
    assert (record.state, record.summary and record.summary.ok) == ("finished", 1)
    assert (folder / "_SUCCESS").exists()
    page = report.read_text()
    assert "cup" in page
    assert "is not an image that can be read" in page
    asset = next((house / "out" / "assets" / "field" / "cup").glob("main-*.png"))
    written = asset.stat().st_mtime_ns

    again = run(house)
    assert again.returncode == 3
    assert again.stdout == first.stdout
    assert asset.stat().st_mtime_ns == written

    judged = run(house, "--gate", "ssim >= 1")  # gates measure a finished run
    assert judged.returncode == 3
    assert "1 of 2 restyled, 1 flagged, 1 rejected" in judged.stderr
    assert json.loads((folder / "_SUCCESS").read_text())["gates"] == ["ssim >= 1"]
    assert (folder / "evaluation" / "summary.json").exists()
    assert asset.stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_run_learns_styles_first_and_goes_on_without_those_it_cannot_learn(
    house: Path, learnable: str
) -> None:
    learning = ["adapter_rank=2", "adapter_steps=3", "image_size=64"]
    words = [word for setting in learning for word in ("--set", setting)]
    done = run(house, *words, "--preset", "catalog", name=learnable)
    assert done.returncode == 3, done.stderr
    assert "learning 2 of 2" in done.stderr
    assert "1 of 4 restyled, 3 rejected" in done.stderr
    assert "'wheat' of gallery 'field' is 72x64 px, which is too small" in Path(
        done.stdout.strip()
    ).read_text().replace("&#39;", "'")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_run_is_evaluated_by_a_command(house: Path) -> None:
    if not (house / "out").exists():
        run(house)
    output = str(house / "out")
    name = next((house / "out" / "runs").iterdir()).name
    command = [sys.executable, "-m", "flows.cli.app", "evaluate", output, "--run", name]
    done = subprocess.run(
        [*command, "--gate", "gram_ratio <= 0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("index.html")
    assert "1 of 1 result measured, 1 flagged" in done.stderr
    assert "gram_ratio" in done.stderr
    wrong = subprocess.run(
        [*command, "--gate", "beauty >= 1"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert "--gate: 'beauty' is no metric; there are ssim" in wrong.stderr


@pytest.mark.slow
def test_a_bad_manifest_ends_the_run_with_2_and_one_sentence(house: Path) -> None:
    done = run(house, "--gallery-ids", "no-such-gallery")
    assert done.returncode == 2
    assert "no-such-gallery" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_form_has_every_parameter_described() -> None:
    form = parameter_schema(restyle_catalog.fn).model_dump()
    assert form["required"] == ["spec"]
    spec = form["definitions"]["RestyleSpec"]
    assert set(spec["properties"]) == set(RestyleSpec.model_fields)
    assert spec["required"] == ["catalog", "galleries", "output"]
    groups = [model.__name__ for model in GROUPS.values()]
    for model in ("RestyleSpec", "StyleParams", *groups, "EngineSpec", "PoolSpec"):
        for field in form["definitions"][model]["properties"].values():
            assert field["description"]
            assert field["title"]


@pytest.mark.parametrize(
    ("params", "good"),
    [
        ({"match_tone": False, "steps": 3}, True),
        ({"tones": {"match_tone": False}, "steps": 3}, True),
        ({"tone_lightness": 7}, False),
        ({"tones": {"tone_lightness": 7}}, False),
        ({"match_tones": False}, False),
    ],
)
def test_the_form_takes_parameters_with_or_without_their_group(
    params: dict[str, object], good: bool
) -> None:
    form = parameter_schema(restyle_catalog.fn).model_dump()
    spec = {"catalog": "c", "galleries": ["g"], "output": "o", "params": params}
    assert (not validate({"spec": spec}, form)) == good


def test_a_flow_run_is_named_after_what_it_restyles(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"catalog": "s3://b/spring.parquet", "galleries": ["g/ink.parquet"], "output": "o"}
    monkeypatch.setattr(runtime.flow_run, "parameters", {"spec": spec}, raising=False)
    name = restyle_catalog.flow_run_name
    assert callable(name)
    assert name() == "spring in ink"
