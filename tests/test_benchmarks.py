"""The benchmarks run, each on a tiny model."""

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from PIL import Image

from schemas.methods import Method
from schemas.params import StyleParams
from schemas.presets import Preset, preset_params
from stylegallery.contrastive.design import design_pair
from stylegallery.methods.registry import method_class
from tests.benchmarks import ablations, catalog_profile, materials, pipeline, scale, speed
from tests.benchmarks.drawn_materials import DRAWN, drawn_material
from tests.benchmarks.speed import PUBLISHED
from tests.tiny_model import write_tiny_model


def test_ablations_write_a_table_and_a_sheet(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny")
    names = [
        "stylegallery",
        "hard, masks by zero",
        "optimise from inverted",
        "optimise, 1 anchor",
        "2 references",
    ]
    classes = [method_class(name) for name in get_args(Method)]
    before = [dict(of.samplers) for of in classes]
    out = tmp_path / "out"
    words = ["--out", str(out), "--model", str(model), "--pairs", "1", "--preset", "preview"]
    ablations.main([*words, "--dtype", "float32", "--variants", *names])
    assert before == [dict(of.samplers) for of in classes]
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [row["variant"] for row in rows] == names
    # With a single region nothing lies outside, so masks that multiply by zero give the default's
    # result, if the UNet computes in float32 like those masks.
    assert rows[0]["gram"] == rows[1]["gram"]
    assert len({row["gram"] for row in rows}) == len(names) - 1
    table = (out / "table.md").read_text().splitlines()
    assert table[0].split(" | ")[1:] == [*ablations.COLUMNS[:-1], f"{ablations.COLUMNS[-1]} |"]
    assert len(table) == 2 + len(names)
    with Image.open(out / "sheet-0.png") as sheet:
        assert sheet.size == ((2 + len(names)) * 192, 192)


@pytest.mark.parametrize(("references", "calls"), [(1, 780), (2, 945), (5, 1440)])
def test_the_published_procedure_costs_what_it_costs(
    tmp_path: Path, references: int, calls: int
) -> None:
    """The published code takes 150 (1 + S) + 450 + 15 (1 + S) passes; here 5 of its 150 steps."""
    model = write_tiny_model(tmp_path / "tiny")
    out = tmp_path / "out"
    words = ["--out", str(out), "--model", str(model), "--size", "64", "--shrink", "30"]
    words += ["--references", str(references), "--rounds", "2", "--matrix", "64"]
    speed.main([*words, "--procedures", PUBLISHED, "balanced", "--batches", "1", "2"])
    rows = [json.loads(line) for line in (out / "speed.jsonl").read_text().splitlines()]
    names = [PUBLISHED, "balanced, batch 1", "balanced, batch 2"]
    assert [row["procedure"] for row in rows] == 2 * names
    inversions = 15 * (1 + references)
    assert rows[0]["UNet calls"] == rows[3]["UNet calls"] == (calls - inversions) / 30 + inversions
    _, first, shared, _, later, together = (row["UNet calls"] for row in rows)
    assert later < first
    assert later == together < shared < first
    assert all(row["of peak"] > 0 for row in rows)
    table = (out / "speed.md").read_text().splitlines()
    assert table[0] == "| procedure | " + " | ".join(speed.COLUMNS) + " |"
    assert [line.split(" | ")[0] for line in table[2:]] == [f"| {name}" for name in names]


def test_every_preset_is_timed_against_the_published_procedure() -> None:
    procedures = speed.procedures([1, 4], shrink=1)
    paper = StyleParams(method="stylegallery-paper")
    assert next(iter(procedures)) == PUBLISHED
    assert [procedure.faithful for procedure in procedures.values()] == [True] + [False] * (
        len(procedures) - 1
    )
    for batch in (1, 4):
        for name in get_args(Preset):
            procedure = procedures[f"{name}, batch {batch}"]
            assert (procedure.params, procedure.batch) == (preset_params(name), batch)
        same = procedures[f"{speed.SAME}, batch {batch}"].params
        assert same.model_copy(update={"anchors": 0}) == procedures[PUBLISHED].params == paper


@pytest.mark.slow
def test_the_pipeline_runs_without_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.main(["run", "--products", "6", "--actors", "1"])
    pipeline.main(["rows", "--products", "40", "--actors", "1"])
    pipeline.main(["resume", "--products", "30"])
    lines = capsys.readouterr().out.splitlines()
    sizes = ("| 6 ", "| 40 ", "| 30 ")
    stages = [line.split(" | ")[2] for line in lines if line.startswith(sizes)]
    assert stages == 3 * ["plan", "execute", "tables", "report", "the same command again"]


@pytest.mark.slow
def test_a_catalog_run_is_profiled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_model(tmp_path / "tiny")
    words = ["--model", str(model), "--preset", "preview", "--products", "1", "--actors", "1"]
    catalog_profile.main(words)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 of 2 restyled by 1 actors"
    shares = [float(line.split(" | ")[1].strip(" |")) for line in lines[3:5]]
    assert all(share > 0 for share in shares)
    assert sum(shares) < 1
    assert [line.split(" | ")[0] for line in lines[-2:]] == ["| first", "| second"]


def test_a_reference_is_nearer_to_itself_than_to_its_family(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scale.main(["--pairs", "3"])
    title, _, *rows = capsys.readouterr().out.splitlines()
    assert title == "| 3 references | Gram |"
    cells = [row.strip("| ").split(" | ") for row in rows]
    figures = {name: float(figure.split()[0]) for name, figure in cells}
    assert list(figures) == [
        "its other half",
        "other pictures of its family",
        "the autoencoder's copy of it",
    ]
    half, family, copy = figures.values()
    assert 0 < max(half, copy) < family


def test_materials_are_compared(tmp_path: Path) -> None:
    model, out = write_tiny_model(tmp_path / "tiny"), tmp_path / "out"
    words = ["--model", str(model), "--out", str(out), "--products", "2", "--short-side", "96"]
    words += ["--methods", "contrastive-lora", "sms", "styleid", "--adapter-steps", "10"]
    materials.main([*words, "--materials", "tweed"])
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    order = ["photo", "contrastive-lora", "sms", "styleid"]
    assert [row["method"] for row in rows] == [name for name in order for _ in range(2)]
    assert all(row["content_colour_distance"] == 0 for row in rows[:2])
    assert [row["learn"] > 0.1 for row in rows[2:]] == 4 * [True] + 2 * [False]
    table = (out / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == [f"| {name}" for name in order]
    with Image.open(out / "sheet-tweed.png") as sheet:
        assert sheet.size == (3 * 256, 4 * 256)


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_materials_have_texture_and_a_design(name: str) -> None:
    drawn = drawn_material(name)
    assert drawn.size == (512, 512)
    assert torch.equal(drawn.pixels, drawn_material(name).pixels)
    pair = design_pair(drawn, None, 256, name)  # which refuses what has no texture
    assert pair.design.size == (512, 512)
