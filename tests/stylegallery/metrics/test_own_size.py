"""Metrics at the own size of a result: they see strokes that the small size does not."""

import pytest
import torch

from schemas.evaluation import BENCHMARKS_ALONE, ItemMetrics
from stylegallery.images.codec import resize
from stylegallery.metrics import own_size, second, text
from stylegallery.metrics.frequency import high_share, texture_share
from stylegallery.metrics.item import MetricSuite, at_scale
from stylegallery.metrics.own_size import OwnSizeMetrics, SizedReference
from stylegallery.metrics.pairs import RegionPair
from stylegallery.metrics.second import StylePredictor
from stylegallery.models.lite0 import load_lite0
from stylegallery.training.patterns import draw
from tests.stylegallery.metrics.spoiling import photo

HEIGHT, WIDTH = 512, 640
RATIOS = {
    f"{area}gram_ratio_{scale}"
    for area in ("", "regional_")
    for scale in ("own", "half", "quarter", "scales")
}


@pytest.fixture(scope="module")
def metrics() -> OwnSizeMetrics:
    return OwnSizeMetrics(load_lite0("cpu"))


def original() -> torch.Tensor:
    return resize(photo(), (HEIGHT, WIDTH))


def painting(size: int = 512) -> torch.Tensor:
    return torch.from_numpy(draw((3, 1), size)).permute(2, 0, 1)[None].float() / 255


def softened(pixels: torch.Tensor) -> torch.Tensor:
    """What comes out when a picture is made at 128 px and stretched."""
    return resize(resize(pixels, (HEIGHT // 4, WIDTH // 4)), (HEIGHT, WIDTH))


def whole_pair() -> RegionPair:
    everything = torch.ones((4, 5), dtype=torch.bool)
    return RegionPair(everything, 0, everything, 1.0)


def test_an_untouched_photo_is_as_far_as_itself(metrics: OwnSizeMetrics) -> None:
    reference = (1.0, SizedReference(painting()))
    found = metrics.score(original(), original(), [reference], [whole_pair()])
    assert found.keys() == RATIOS | {
        "ssim_own", "edge_agreement_own", "sharpness", "texture_difference",
    }  # fmt: skip
    assert {name: found[name] for name in RATIOS} == pytest.approx(dict.fromkeys(RATIOS, 1.0))
    assert found["ssim_own"] == pytest.approx(1)
    assert found["edge_agreement_own"] == pytest.approx(1)
    assert found["sharpness"] == 1


def test_a_reference_itself_has_no_distance(metrics: OwnSizeMetrics) -> None:
    crop = painting(640)[..., :HEIGHT, :].mul(255).round() / 255
    found = metrics.score(crop, original(), [(1.0, SizedReference(crop))], [whole_pair()])
    assert {name: found[name] for name in RATIOS} == pytest.approx(
        dict.fromkeys(RATIOS, 0.0), abs=1e-4
    )
    assert found["texture_difference"] == pytest.approx(0, abs=1e-6)


def test_softness_shows_at_the_own_size_and_not_at_a_quarter(metrics: OwnSizeMetrics) -> None:
    crop = painting(640)[..., :HEIGHT, :]
    reference = [(1.0, SizedReference(crop))]
    found = metrics.score(softened(crop), original(), reference, [whole_pair()])
    own, half, quarter = (found[f"gram_ratio_{name}"] for name in ("own", "half", "quarter"))
    assert own is not None
    assert half is not None
    assert quarter is not None
    assert own > half > quarter
    assert quarter < 0.3 * own
    assert found["gram_ratio_scales"] == pytest.approx((own + half + quarter) / 3)
    lost = texture_share(crop) - texture_share(softened(crop))
    assert lost > 0.5 * texture_share(crop)
    assert found["texture_difference"] == pytest.approx(lost, abs=1e-4)


def test_small_references_are_left_out_where_they_would_be_soft(metrics: OwnSizeMetrics) -> None:
    small, large = (SizedReference(painting(side)) for side in (256, 512))
    alone = metrics.score(original(), original(), [(1.0, small)], [whole_pair()])
    assert alone["gram_ratio_own"] is None
    assert alone["texture_difference"] is None
    assert alone["gram_ratio_half"] == pytest.approx(1)
    assert alone["gram_ratio_scales"] == pytest.approx(1)
    made = softened(original())
    both = metrics.score(made, original(), [(1.0, small), (3.0, large)], [])
    only = metrics.score(made, original(), [(1.0, large)], [])
    assert both["gram_ratio_own"] == pytest.approx(only["gram_ratio_own"])
    assert both["gram_ratio_half"] != pytest.approx(only["gram_ratio_half"], rel=1e-6)


def test_regions_are_compared_with_their_matches(metrics: OwnSizeMetrics) -> None:
    """A result of two halves of two references is nearer by region than as a whole."""
    left, right = (torch.from_numpy(draw((n, 1), 512)).permute(2, 0, 1)[None].float() / 255
                   for n in (3, 8))  # fmt: skip
    made = torch.cat([left[..., :320], right[..., 192:]], dim=3)
    half = torch.zeros((4, 4), dtype=torch.bool)
    half[:, :2] = True
    whole = torch.ones((4, 4), dtype=torch.bool)
    pairs = [RegionPair(half, 0, whole, 0.5), RegionPair(~half, 1, whole, 0.5)]
    references = [(1.0, SizedReference(left)), (1.0, SizedReference(right))]
    found = metrics.score(made, original(), references, pairs)
    assert (found["regional_gram_ratio_own"] or 1) < 0.5 * (found["gram_ratio_own"] or 0)


def test_pictures_too_small_for_strokes_have_no_figures(metrics: OwnSizeMetrics) -> None:
    tiny = photo()[..., :100, :]
    assert {*metrics.score(tiny, tiny, [(1.0, SizedReference(painting()))], []).values()} == {None}


def test_forgotten_references_are_computed_again(
    metrics: OwnSizeMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = [(1.0, SizedReference(painting()))]
    kept = metrics.score(softened(original()), original(), references, [])
    monkeypatch.setattr(own_size, "_KEPT_BYTES", 0)
    again = OwnSizeMetrics(load_lite0("cpu")).score(
        softened(original()), original(), references, []
    )
    assert again == kept


def test_the_suite_returns_all_metrics_under_the_names_of_their_columns() -> None:
    there = second.is_installed() and text.is_installed()
    suite = MetricSuite(benchmarks=there)
    reference = suite.reference_features(painting())
    found = suite.score(softened(original()), original(), [reference], [whole_pair()]).metrics
    missing = {"protected_ssim", "protected_difference", "lpips", "csd", "cfsd", "text_kept"}
    missing |= set() if there else BENCHMARKS_ALONE
    assert set(ItemMetrics.model_fields) - found.keys() == missing
    ItemMetrics.model_validate(found)
    share = high_share(at_scale(softened(original())))
    assert found["hfrd"] == pytest.approx(abs(share - high_share(at_scale(painting()))))
    assert found["content_colour_distance"] > 0


@pytest.mark.skipif(not second.is_installed(), reason="needs the extra `benchmarks`")
def test_the_second_judge_sees_softness_too() -> None:
    metrics = OwnSizeMetrics(load_lite0("cpu"), StylePredictor())
    crop = painting(640)[..., :HEIGHT, :]
    reference = [(1.0, SizedReference(crop))]
    sharp, soft = (
        metrics.score(made, original(), reference, [whole_pair()])
        for made in (crop, softened(crop))
    )
    for name in (
        "second_style_ratio", "second_style_ratio_own", "regional_second_style_ratio_own",
    ):  # fmt: skip
        assert (sharp[name] or 0) < 0.05
    assert (soft["second_style_ratio_own"] or 0) > 2 * (sharp["second_style_ratio_own"] or 0)
