"""The losses on the way, item by item."""

from collections.abc import Callable

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.errors import DidNotConverge
from stylegallery.types import Step

OnStep = Callable[[Step], None]
"""Called after every step; of a batch it is told the mean losses."""


class Trace:
    """Weighs energies into losses and remembers them without waiting for the device."""

    def __init__(self, params: StyleParams, on_step: OnStep | None, total: int) -> None:
        """Tell `on_step`, if given, of each of `total` steps; that waits for the device."""
        self._params, self._on_step, self._total = params, on_step, total
        self._timesteps: list[int] = []
        self._losses: list[Tensor] = []

    def loss(self, timestep: int, style: Tensor, content: Tensor) -> Tensor:
        """Note the energies (B,) of one step; return their weighted sum () over the items."""
        loss = style + self._params.content_weight * content
        self._timesteps.append(timestep)
        self._losses.append(torch.stack([loss, style, content]).detach())
        total: Tensor = loss.sum()  # each item's gradient is its own
        return total

    def stepped(self) -> None:
        """Say that the step noted last has been taken.

        Raises:
            DidNotConverge: somebody listens, and a loss is not finite.
        """
        if self._on_step is not None:
            index = len(self._losses) - 1
            self._on_step(self._step(index, self._losses[-1].float().mean(dim=1).tolist()))

    def steps(self) -> list[tuple[Step, ...]]:
        """Return the steps of each of the B items.

        Raises:
            DidNotConverge: a loss is not finite.
        """
        noted = torch.stack(self._losses).float().tolist()  # the one wait for the device
        return [
            tuple(
                self._step(index, [loss[item] for loss in losses])
                for index, losses in enumerate(noted)
            )
            for item in range(len(noted[0][0]))
        ]

    def _step(self, index: int, losses: list[float]) -> Step:
        step = Step(index, self._total, self._timesteps[index], *losses)
        if not torch.isfinite(torch.tensor(losses)).all():
            raise DidNotConverge(
                f"the loss is not finite at step {index}; lower learning_rate or use float32."
            )
        return step
