"""Losses are kept job by job and reported as means."""

import pytest
import torch

from stylegallery import Step
from stylegallery.errors import DidNotConverge
from stylegallery.guidance.loss_trace import LossTrace


def test_each_job_has_its_own_losses() -> None:
    heard: list[Step] = []
    trace = LossTrace(0.5, heard.append, 2)
    for timestep in (500, 400):
        total = trace.loss(timestep, torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]))
        trace.report_step()
        assert total == 2.0 + 5.0
    first, second = trace.steps()
    assert first == (Step(0, 2, 500, 2.0, 1.0, 2.0), Step(1, 2, 400, 2.0, 1.0, 2.0))
    assert second == (Step(0, 2, 500, 5.0, 3.0, 4.0), Step(1, 2, 400, 5.0, 3.0, 4.0))
    assert heard == [Step(0, 2, 500, 3.5, 2.0, 3.0), Step(1, 2, 400, 3.5, 2.0, 3.0)]


@pytest.mark.parametrize("listens", [True, False])
def test_a_loss_that_is_not_finite_is_reported(listens: bool) -> None:
    heard: list[Step] = []
    trace = LossTrace(0.5, heard.append if listens else None, 1)
    trace.loss(500, torch.tensor([1.0, torch.nan]), torch.zeros(2))
    with pytest.raises(DidNotConverge, match="step 0"):
        trace.report_step() if listens else trace.steps()
