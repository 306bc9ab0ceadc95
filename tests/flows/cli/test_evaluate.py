"""The summary that `stylegallery evaluate` prints."""

import pytest

from flows.cli.commands.evaluate import _print_summary
from schemas.evaluation import BETTER, ConfidenceInterval, EvaluationSummary, ItemMetrics


def test_every_figure_has_a_better_direction() -> None:
    assert BETTER.keys() == ItemMetrics.model_fields.keys()
    up = {name for name, arrow in BETTER.items() if arrow == "↑"}
    assert up == {
        "ssim", "ssim_own", "ms_ssim", "edge_agreement", "edge_agreement_own", "protected_ssim",
        "sharpness", "text_kept", "csd",
    }  # fmt: skip


def test_a_gate_on_what_no_result_has_is_not_passed(capsys: pytest.CaptureFixture[str]) -> None:
    _print_summary(
        EvaluationSummary(
            items=8,
            measured=8,
            flagged=1,
            gates=["ssim >= 0.5", "ms_ssim >= 0.5", "protected_difference <= 0"],
            missed={"ssim >= 0.5": 1, "ms_ssim >= 0.5": 0, "protected_difference <= 0": 0},
            figures={
                "ssim": ConfidenceInterval(value=0.7, low=0.6, high=0.8, count=8),
                "ms_ssim": ConfidenceInterval(value=0.7, low=0.6, high=0.8, count=6),
                "gram_distance": ConfidenceInterval(value=0.7, low=0.6, high=0.8, count=8),
            },
        )
    )
    said = capsys.readouterr().err
    assert "8 of 8 results measured, 1 flagged" in said
    assert "↑ ssim " in said
    assert "↓ gram_distance " in said
    assert "gate ssim >= 0.5: missed by 1 of 8 results" in said
    assert "gate ms_ssim >= 0.5: missed by 0 of 6 results, 2 not measured" in said
    assert "gate protected_difference <= 0: not measured: no result has" in said
