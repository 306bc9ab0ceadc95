"""The training loop: what it leaves out, and what its log says."""

import itertools
import json
from pathlib import Path

import torch
from torch import Tensor

from stylegallery.training.loop import LOG_STEPS, Budget, start, train


def test_a_step_whose_gradients_are_not_finite_is_left_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 1)
    run = start("part", module, Budget(LOG_STEPS, 10.0), 1e-2, 0.9)
    seen: list[Tensor] = []

    def gradients(step: int, _: torch.Generator) -> Tensor:
        seen.append(module.weight.detach().clone())
        module.zero_grad()
        loss = module(torch.ones(1, 4)).square().sum() * (torch.nan if step == 7 else 1.0)
        loss.backward()
        return torch.zeros(()) if step == 7 else loss.detach()

    train(run, itertools.count(), gradients, 0, tmp_path, 10.0, lambda _: None)
    assert torch.equal(seen[7], seen[8])  # as if it had not been
    assert not torch.equal(seen[6], seen[7])
    assert not torch.equal(seen[8], seen[9])
    assert module.weight.isfinite().all()
    (row,) = (json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines())
    assert (row["step"], row["left_out"]) == (LOG_STEPS, 1.0)
