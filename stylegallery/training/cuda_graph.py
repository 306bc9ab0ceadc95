"""A loss and its gradients as CUDA graphs: one launch a step where there are thousands."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[[Any, Sequence[Tensor]], Sequence[Tensor]]
"""A kind of batch and its tensors to scalars, of which the first is minimized."""


def gradients(module: nn.Module, loss: Callable[[], Sequence[Tensor]]) -> list[Tensor]:
    """Put the gradients of the first of `loss`'s scalars into `module`; return all of them."""
    module.zero_grad(set_to_none=True)
    values = loss()
    values[0].backward()
    return [value.detach() for value in values]


@dataclass
class _Graph:
    graph: torch.cuda.CUDAGraph
    batch: list[Tensor]
    values: list[Tensor]


class CudaGraphStep:
    """:func:`gradients` on a GPU, recorded once for each kind of batch and then played back.

    A small UNet's kernels take less than the processor needs to launch them one by one. Nothing
    random may happen in the loss, and nothing in it may wait for the GPU.
    """

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        """Take over `module`'s gradients: they are written in place from now on."""
        self._module, self._loss = module, loss
        self._graphs: dict[Hashable, _Graph] = {}
        self._pool: Any = None  # shared: one graph runs at a time, and what it returns is copied

    def __call__(self, kind: Hashable, batch: Sequence[Tensor]) -> list[Tensor]:
        """Return the loss's scalars; the gradients lie in the module.

        Args:
            kind: What the loss needs to know beside tensors; each kind has graphs of its own.
            batch: Tensors on the GPU; each combination of shapes is recorded once.
        """
        key = (kind, *(part.shape for part in batch))
        if key not in self._graphs:
            self._graphs[key] = self._record(kind, batch)
        found = self._graphs[key]
        for mine, given in zip(found.batch, batch, strict=True):
            mine.copy_(given)
        found.graph.replay()
        return [value.clone() for value in found.values]

    def _record(self, kind: Any, batch: Sequence[Tensor]) -> _Graph:
        mine = [part.clone() for part in batch]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries choose their algorithms in calls before
            for _ in range(2):
                self._accumulate(kind, mine)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            values = self._accumulate(kind, mine)
        self._pool = graph.pool()
        return _Graph(graph, mine, values)

    def _accumulate(self, kind: Any, batch: list[Tensor]) -> list[Tensor]:
        kept = [p.grad for p in self._module.parameters() if p.grad is not None]
        if kept:
            torch._foreach_zero_(kept)
        values = self._loss(kind, batch)
        values[0].backward()
        return [value.detach() for value in values]
