"""The style and content energies of one attention layer, and the region attention they use."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stylegallery.models.attention import attend

Indices = Tensor | slice
"""Indices (n,) into queries or keys; a slice where they are evenly spaced, to avoid a copy."""

_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class RegionAttention:
    """Which queries of one layer attend to which keys.

    Attributes:
        groups: For each set of content regions with equal rows in the routing table: the indices
            of its queries, the indices of the keys they may attend to, and the bias (m,) on the
            logits of those m keys, or None if it is the same for all.
    """

    groups: tuple[tuple[Indices, Indices, Tensor | None], ...]

    @classmethod
    def build(cls, table: Tensor, queries: Tensor, keys: Tensor) -> "RegionAttention":
        """Turn a routing table into index groups.

        Args:
            table: (R, S) log weights; -inf forbids.
            queries: (N,) content region of each query.
            keys: (M,) style region of each key, an index into S.
        """
        groups = []
        for region, row in enumerate(table):
            alike = (table == row).all(dim=1)  # regions with equal rows share one attention call
            if alike[:region].any():
                continue
            rows = alike[queries].nonzero()[:, 0]
            bias = row[keys]
            columns = bias.isfinite().nonzero()[:, 0]
            if len(rows) and len(columns):
                chosen = bias[columns]
                constant = bool((chosen == chosen[0]).all())
                indices = (
                    _ALL if len(rows) == len(queries) else rows,
                    _ALL if len(columns) == len(keys) else columns,
                )
                groups.append((*indices, None if constant else chosen))
        return cls(tuple(groups))

    def rotated(self, step: int, keys: int, limit: int) -> "RegionAttention":
        """Return the groups with at most `limit` evenly spaced keys each, others at each step.

        After `turns` steps every key was used, where `turns` is the number of keys over `limit`,
        rounded up. The cost of a step then does not depend on the number of references.

        Args:
            step: Index of the step, from 0.
            keys: Number M of all keys, for groups that may attend to all.
            limit: Most keys of a group in one step, at least 1.
        """
        groups = []
        for rows, columns, bias in self.groups:
            turns = -(-(keys if isinstance(columns, slice) else len(columns)) // limit)
            if turns > 1:
                turn = slice(step % turns, None, turns)
                columns = turn if isinstance(columns, slice) else columns[turn]
                bias = None if bias is None else bias[turn]
            groups.append((rows, columns, bias))
        return RegionAttention(tuple(groups))

    def to(self, device: torch.device) -> "RegionAttention":
        """Return the same groups on `device`."""

        def moved(indices: Indices) -> Indices:
            return indices if isinstance(indices, slice) else indices.to(device)

        return RegionAttention(
            tuple(
                (moved(rows), moved(columns), None if bias is None else bias.to(device))
                for rows, columns, bias in self.groups
            )
        )


@torch.no_grad()
def style_target(
    query: Tensor, key: Tensor, value: Tensor, own: Tensor, routing: RegionAttention, scale: float
) -> Tensor:
    """Return the target (B, heads, N, d) of a layer's output.

    Each region's queries attend to the keys of its matched style regions alone. Keys are
    gathered by index, which is an exact mask. The authors' code multiplies queries, keys and
    values by 0/1 masks instead; a zeroed key keeps logit 0 in the softmax, which weakens the
    target of small regions.

    Args:
        query: (B, heads, N, d) of the latent that is optimized.
        key: (B, heads, M, d) of all references, concatenated.
        value: (B, heads, M, d), likewise.
        own: (B, heads, N, d) output for the content, the target of regions without keys.
        routing: Query and key indices of every region.
        scale: Factor on the queries; values above 1 sharpen the attention.
    """
    target = own.clone()
    for rows, columns, bias in routing.groups:
        keys, values = key[:, :, columns], value[:, :, columns]
        target[:, :, rows] = attend(query[:, :, rows] * scale, keys, values, bias)
    return target


def style_energy(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference () of a layer's output to its target.

    Attention distillation loss, arXiv 2502.20235. Regions count by their area.
    """
    return (output - target).abs().mean()


def content_energy(query: Tensor, content_query: Tensor) -> Tensor:
    """Return the mean absolute difference () of a layer's queries to those of the content.

    Content preservation loss, arXiv 2502.20235.
    """
    return (query - content_query).abs().mean()
