"""Record a loss and its gradients as CUDA graphs: one launch per step instead of thousands."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[[Any, Sequence[Tensor]], Sequence[Tensor]]
"""Maps a kind of batch and its tensors to scalars; the first is minimized."""


def gradients(module: nn.Module, loss: Callable[[], Sequence[Tensor]]) -> list[Tensor]:
    """Write the gradients of the first scalar of `loss` to `module`, and return all scalars."""
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
    """:func:`gradients` on a GPU, recorded once per kind of batch and then replayed.

    The kernels of a small UNet run faster than the CPU can launch them one by one. The loss must
    neither draw random numbers nor synchronize with the GPU.
    """

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        """Take a module, whose gradients are written in place from now on."""
        self._module, self._loss = module, loss
        self._graphs: dict[Hashable, _Graph] = {}
        self._pool: Any = None  # shared: one graph runs at a time, and its results are copied

    def __call__(self, kind: Hashable, batch: Sequence[Tensor]) -> list[Tensor]:
        """Write the gradients to the module, and return the scalars of the loss.

        Args:
            kind: Argument of the loss that is no tensor; each kind has its own graphs.
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
        with torch.cuda.stream(aside):  # warm-up: libraries choose their algorithms
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
