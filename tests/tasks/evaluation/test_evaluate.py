"""Evaluation of a run on real Ray: metrics, flags, and only changed items on repetition."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from schemas.evaluation import BENCHMARKS_ALONE, ExternalWeights, Gate, ItemEvaluation, ItemMetrics
from schemas.run import RestyleSpec
from stylegallery.errors import ModelNotFound
from tasks.errors import FileMissing
from tasks.evaluation.evaluate import evaluate
from tasks.evaluation.reader import read_summary
from tasks.planning import Plan
from tasks.records import parquet
from tests.stylegallery.metrics.inception_file import write_inception
from tests.tasks.conftest import MakeSpec, write_catalog
from tests.tasks.pictures import save
from tests.tasks.places import files_of
from tests.tasks.test_run import run

SCALES = ("own", "half", "quarter", "scales")
OWN_SIZE = {
    *(f"{area}gram_ratio_{scale}" for area in ("", "regional_") for scale in SCALES),
    *("texture_difference", "sharpness", "ssim_own", "edge_agreement_own"),
}
"""Metrics that the small pictures of these tests do not have."""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]


def rows_of(plan: Plan) -> list[ItemEvaluation]:
    folder = plan.files.evaluation
    names = parquet.part_names(folder)
    return [row for name in names for row in parquet.read_rows(folder / name, ItemEvaluation)]


def test_a_repeated_evaluation_computes_only_changed_items(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(products=3)
    plan, summary, _ = run(spec)
    heard: list[tuple[int, int]] = []
    found = evaluate(
        spec.output, plan.run_id, ["ssim >= 1", "ssim <= 1"], on_measured=lambda *n: heard.append(n)
    )
    assert (found.items, found.measured, found.unmeasured) == (6, 6, 0)
    assert found.flagged == 6  # no restyled image equals its original
    assert found.missed == {"ssim >= 1": 6, "ssim <= 1": 0}
    assert heard[-1] == (6, 6)
    assert read_summary(plan.files) == found

    rows = rows_of(plan)
    results = pq.read_table(plan.files.results.uri).to_pylist()
    assert [row.item_id for row in rows] == [row["item_id"] for row in results]
    assert [row.asset_sha256 for row in rows] == [row["asset_sha256"] for row in results]
    for row, result in zip(rows, results, strict=True):
        without = {"protected_ssim", "protected_difference", "ms_ssim", "lpips", "csd", "cfsd"}
        without |= BENCHMARKS_ALONE | OWN_SIZE
        assert {n for n in ItemMetrics.model_fields if getattr(row, n) is None} <= without
        assert row.flags == [f"ssim is {row.ssim:.4g}, below 1"]
        assert [r.region for r in row.regions] == [m["region"] for m in result["matches"]]
    assert found.figures["ssim"].value == pytest.approx(np.mean([row.ssim for row in rows]))
    assert found.figures["ssim"].low < found.figures["ssim"].value < found.figures["ssim"].high
    assert set(found.galleries) == {"coffee", "rocket"}
    assert all(gallery.art_product_lite0 > 1 for gallery in found.galleries.values())

    # A replaced asset is detected by the hash in its result, not by its bytes. Other items keep
    # their metrics, whatever their files hold now.
    asset = Path(spec.output) / results[0]["asset_uri"]
    asset.write_bytes((Path(spec.output) / results[1]["asset_uri"]).read_bytes())
    again = evaluate(spec.output, plan.run_id)
    assert (again.flagged, again.gates) == (0, [])
    assert [row.ssim for row in rows_of(plan)] == [row.ssim for row in rows]

    # The Inception network is used for sets only: the rows do not change.
    nets = ExternalWeights(inception=str(write_inception(tmp_path / "art_inception.pth")))
    judged = evaluate(spec.output, plan.run_id, weights=nets)
    assert all(gallery.fid_art.value > 0 for gallery in judged.galleries.values())
    assert all(gallery.fid_art.count == 3 for gallery in judged.galleries.values())
    assert [row.ssim for row in rows_of(plan)] == [row.ssim for row in rows]
    (tmp_path / "art_inception.pth").write_bytes(b"no weights")
    with pytest.raises(ModelNotFound, match="cannot be read as weights"):
        evaluate(spec.output, plan.run_id, weights=nets)


def test_protected_pixels_get_metrics_and_missing_files_an_error(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(products=2)
    protect = np.zeros((96, 80), np.uint8)
    protect[10:60, 10:60] = 255
    Image.fromarray(protect).save(tmp_path / "in" / "protect.png")
    write_catalog(tmp_path / "in", 2, protect_uri=["protect.png", None])
    plan, _, _ = run(spec)
    Path(spec.catalog).parent.joinpath("p1.png").unlink()
    found = evaluate(spec.output, plan.run_id, ["protected_difference <= 0"])
    assert (found.items, found.measured, found.unmeasured, found.flagged) == (4, 2, 2, 0)
    by_product: dict[str, list[ItemEvaluation]] = {"p0": [], "p1": []}
    for row in rows_of(plan):
        by_product[row.product_id].append(row)
    for row in by_product["p0"]:
        assert (row.protected_difference, row.error) == (0, "")
        assert row.protected_ssim == pytest.approx(1)
    assert all("p1.png" in row.error and row.ssim is None for row in by_product["p1"])

    # The photo exists again, but with other bytes than were restyled.
    save(tmp_path / "in" / "p1.png", np.zeros((96, 80, 3), np.uint8))
    evaluate(spec.output, plan.run_id)
    assert all("changed after the run" in row.error for row in rows_of(plan) if row.error)


def test_a_run_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="finish the run first"):
        evaluate(str(tmp_path), "run-0")
    assert read_summary(files_of(tmp_path, "run-0")) is None


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        ("ssim", "is no gate; write it like `ssim >= 0.5`"),
        ("ssim > 0.5", "is no gate"),
        ("ssim >= high", "is no gate"),
        ("sim >= 0.5", "'sim' is no metric; there are ssim, ms_ssim"),
        ("", "is no gate"),
    ],
)
def test_an_invalid_gate_is_refused(text: str, violation: str) -> None:
    with pytest.raises(ValueError, match=violation):
        Gate.parse(text)


def test_a_gate_on_a_metric_that_is_not_computed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a gate on `lpips` needs its weights; give them"):
        evaluate(str(tmp_path), "run-0", ["lpips <= 0.4"])
    with pytest.raises(ValueError, match="`text_kept` cannot be checked"):
        evaluate(str(tmp_path), "run-0", ["text_kept >= 0.5"])
    places = {"catalog": "c.parquet", "galleries": ["g.parquet"], "output": "o"}
    with pytest.raises(ValueError, match="a gate on `csd` needs its weights"):
        RestyleSpec.model_validate({**places, "gates": ["csd >= 0.4"]})


def test_gates_describe_the_violation() -> None:
    figures = ItemMetrics(ssim=0.4, gram_ratio=0.9)
    assert Gate.parse("ssim>=0.5").violation(figures) == "ssim is 0.4, below 0.5"
    assert Gate.parse("ssim >= 0.4").violation(figures) == ""
    assert Gate.parse(" gram_ratio <= 0.85 ").violation(figures) == "gram_ratio is 0.9, above 0.85"
    assert (
        Gate.parse("protected_difference <= 0").violation(figures) == ""
    )  # the item has no protected area
