"""Losses of every step of a batch, kept on the device until they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegallery.errors import DidNotConverge
from stylegallery.types import Step

OnStep = Callable[[Step], None]
"""Callback after every step; for a batch it receives the mean losses."""


@dataclass(frozen=True, eq=False)
class _Losses:
    """Total, style and content losses (3, B) of one step."""

    timestep: int
    values: Tensor


class LossTrace:
    """Combines energies into losses and records them without synchronizing the device."""

    def __init__(self, content_weight: float, on_step: OnStep | None, total: int) -> None:
        """Expect `total` steps; report each to `on_step`, which synchronizes the device.

        Args:
            content_weight: Weight of the content loss beside the style loss.
            on_step: Called with each step, if given.
            total: Number of steps.
        """
        self._content_weight, self._on_step, self._total = content_weight, on_step, total
        self._steps: list[_Losses] = []

    def loss(self, timestep: int, style: Tensor, content: Tensor) -> Tensor:
        """Record the energies (B,) of one step; return the sum () of the items' losses.

        An item's loss is style + content_weight * content.
        """
        loss = style + self._content_weight * content
        self._steps.append(_Losses(timestep, torch.stack([loss, style, content]).detach()))
        total: Tensor = loss.sum()  # items are independent, so each keeps its own gradient
        return total

    def report_step(self) -> None:
        """Report the last recorded step to the listener, if there is one.

        Raises:
            DidNotConverge: there is a listener, and a loss is not finite.
        """
        if self._on_step is not None:
            index = len(self._steps) - 1
            self._on_step(self._step(index, self._steps[-1].values.float().mean(dim=1).tolist()))

    def steps(self) -> list[tuple[Step, ...]]:
        """Return the steps of each of the B items.

        Raises:
            DidNotConverge: a loss is not finite.
        """
        losses = torch.stack([step.values for step in self._steps])
        items = losses.float().permute(2, 0, 1).tolist()  # the only synchronization
        return [
            tuple(self._step(index, values) for index, values in enumerate(item)) for item in items
        ]

    def _step(self, index: int, losses: list[float]) -> Step:
        step = Step(index, self._total, self._steps[index].timestep, *losses)
        if not torch.isfinite(torch.tensor(losses)).all():
            raise DidNotConverge(
                f"the loss is not finite at step {index}; lower learning_rate or use float32."
            )
        return step
