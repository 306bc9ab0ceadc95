"""Gradients of CUDA graphs equal those of plain calls."""

import copy
from collections.abc import Sequence
from functools import partial

import pytest
import torch

from stylegallery.training.cuda_graph import CudaGraphStep, gradients


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_captured_gradients_are_those_of_plain_calls() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.SiLU(), torch.nn.Linear(16, 8))
    module.cuda()

    captured = CudaGraphStep(module, partial(_of, module))
    for twice, count in ((False, 4), (True, 4), (False, 6), (False, 4), (True, 4)):
        batch = [torch.randn(count, 8, device="cuda")]
        values = [v.clone() for v in captured(twice, batch)]
        found = [p.grad.clone() for p in module.parameters() if p.grad is not None]
        other = copy.deepcopy(module)
        plain = gradients(other, partial(_of, other, twice, batch))
        torch.testing.assert_close(values, plain)
        torch.testing.assert_close(found, [p.grad for p in other.parameters()])


def _of(module: torch.nn.Module, twice: bool, batch: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    out = module(batch[0]) * (2 if twice else 1)
    return [out.square().mean(), out.mean()]
