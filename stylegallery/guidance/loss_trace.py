"""The losses on the way, item by item."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.errors import DidNotConverge
from stylegallery.types import Step

OnStep = Callable[[Step], None]
"""Called after every step; of a batch it is told the mean losses."""

WINDOW = 10
"""Steps over which a loss is averaged before it is called flat: one alone goes up and down."""


@dataclass(frozen=True, eq=False)
class _Noted:
    """One step: its timestep, who took it, and their losses (3, B): total, style, content."""

    timestep: int
    items: Sequence[int]
    losses: Tensor


class Trace:
    """Weighs energies into losses and remembers them without waiting for the device."""

    def __init__(self, params: StyleParams, on_step: OnStep | None, total: int) -> None:
        """Tell `on_step`, if given, of each of `total` steps; that waits for the device."""
        self._params, self._on_step, self._total = params, on_step, total
        self._noted: list[_Noted] = []

    def loss(
        self, timestep: int, style: Tensor, content: Tensor, items: Sequence[int] | None = None
    ) -> Tensor:
        """Note the energies (B,) of one step; return their weighted sum () over the items.

        `items` are the numbers of the B items in the batch, when some have ended.
        """
        loss = style + self._params.content_weight * content
        losses = torch.stack([loss, style, content]).detach()
        self._noted.append(_Noted(timestep, range(len(loss)) if items is None else items, losses))
        total: Tensor = loss.sum()  # each item's gradient is its own
        return total

    def stepped(self) -> None:
        """Say that the step noted last has been taken.

        Raises:
            DidNotConverge: somebody listens, and a loss is not finite.
        """
        if self._on_step is not None:
            index = len(self._noted) - 1
            self._on_step(self._step(index, self._noted[-1].losses.float().mean(dim=1).tolist()))

    def going_on(self) -> Sequence[int]:
        """Return the items whose loss still falls, of those that took the step noted last.

        It is flat when its mean over the last steps, ten of them, is not below that over the ten
        before by `flat_loss` of it. Only every tenth step is asked about, as to answer waits for
        the device.
        """
        items, count = self._noted[-1].items, len(self._noted)
        if not self._params.flat_loss or count % WINDOW or count < 2 * WINDOW:
            return items
        before, lately = (
            torch.stack([self._losses_of(noted, items) for noted in self._noted[part]]).mean(dim=0)
            for part in (slice(-2 * WINDOW, -WINDOW), slice(-WINDOW, None))
        )
        falls = (lately < (1 - self._params.flat_loss) * before).tolist()
        return [item for item, fell in zip(items, falls, strict=True) if fell]

    def steps(self) -> list[tuple[Step, ...]]:
        """Return the steps of each of the B items.

        Raises:
            DidNotConverge: a loss is not finite.
        """
        found: list[list[Step]] = [[] for _ in self._noted[0].items]
        together = torch.cat([noted.losses for noted in self._noted], dim=1)
        numbers = iter(together.float().T.tolist())  # the one wait for the device
        for index, noted in enumerate(self._noted):
            for item in noted.items:
                found[item].append(self._step(index, next(numbers)))
        return [tuple(steps) for steps in found]

    @staticmethod
    def _losses_of(noted: _Noted, items: Sequence[int]) -> Tensor:
        return noted.losses[0, [list(noted.items).index(item) for item in items]]

    def _step(self, index: int, losses: list[float]) -> Step:
        step = Step(index, self._total, self._noted[index].timestep, *losses)
        if not torch.isfinite(torch.tensor(losses)).all():
            raise DidNotConverge(
                f"the loss is not finite at step {index}; lower learning_rate or use float32."
            )
        return step
