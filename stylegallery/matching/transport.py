"""Soft routing: share the references' area out among content regions by optimal transport."""

import torch
from torch import Tensor

TEMPERATURE = 0.3
_ROUNDS = 200


def transport_plan(similarity: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the entropic transport plan between two sets of shares (Sinkhorn).

    Args:
        similarity: (R, S) gain of moving a unit from r to s.
        rows: (R,) shares of the content regions, summing to 1.
        columns: (S,) shares of the style regions, summing to 1.

    Returns:
        (R, S), non-negative, with these row and column sums.
    """
    kernel = similarity.double() / TEMPERATURE
    log_rows, log_columns = rows.double().log(), columns.double().log()
    left, right = torch.zeros_like(log_rows), torch.zeros_like(log_columns)
    for _ in range(_ROUNDS):
        left = log_rows - (kernel + right).logsumexp(dim=1)
        right = log_columns - (kernel + left[:, None]).logsumexp(dim=0)
    return (kernel + left[:, None] + right).exp().float()


def transport_log_weights(
    similarity: Tensor, rows: Tensor, columns: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    """Return attention biases (R, S) and the main match (R,) of every content region.

    Every style region is used in proportion to its area, so that the regions cannot all
    collapse on one (METHOD 3.0b). The bias is `strength` times the log of the plan's density
    ratio P / (a b): 0 where the plan has no preference; strength 0 is attention distillation,
    a large one the hard region method.
    """
    plan = transport_plan(similarity, rows, columns)
    density = plan.clamp(min=1e-12) / (rows[:, None] * columns[None])
    return strength * density.log(), plan.argmax(dim=1)
