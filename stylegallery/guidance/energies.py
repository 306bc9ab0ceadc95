"""The two energies of the method, layer by layer (METHOD 1.3 and 3.0)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stylegallery.models.attention import attend

Places = Tensor | slice
"""Indices (n,) into queries or keys; a slice where they lie evenly, which copies none of them."""

_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class RegionAttention:
    """Which queries of one grid attend to which keys, worked out once per image.

    Attributes:
        groups: For each content region that has keys, or those whose rows of the table are the
            same: its queries, the keys that they may see, and the bias (m,) on the logits of
            those m keys or None when it is the same for all.
    """

    groups: tuple[tuple[Places, Places, Tensor | None], ...]

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
            alike = (table == row).all(dim=1)  # one attention for regions that may see the same
            if alike[:region].any():
                continue
            asking = alike[queries].nonzero()[:, 0]
            bias = row[keys]
            seen = bias.isfinite().nonzero()[:, 0]
            if len(asking) and len(seen):
                chosen = bias[seen]
                flat = bool((chosen == chosen[0]).all())
                places = (
                    _ALL if len(asking) == len(queries) else asking,
                    _ALL if len(seen) == len(keys) else seen,
                )
                groups.append((*places, None if flat else chosen))
        return cls(tuple(groups))

    def in_turn(self, step: int, keys: int, most: int) -> "RegionAttention":
        """Return the same with at most `most` keys to a group, evenly strewn over all of them.

        As many steps on, every key has had its turn. So a step costs the same however many
        references there are.

        Args:
            step: Number of the sampler's step, from 0.
            keys: How many there are in all, for groups that may see all.
            most: Keys that a group may see at once, at least 1.
        """
        groups = []
        for asking, seen, bias in self.groups:
            turns = -(-(keys if isinstance(seen, slice) else len(seen)) // most)
            if turns > 1:
                turn = slice(step % turns, None, turns)
                seen = turn if isinstance(seen, slice) else seen[turn]
                bias = None if bias is None else bias[turn]
            groups.append((asking, seen, bias))
        return RegionAttention(tuple(groups))

    def to(self, device: torch.device) -> "RegionAttention":
        """Return the same groups on `device`."""

        def there(places: Places) -> Places:
            return places if isinstance(places, slice) else places.to(device)

        return RegionAttention(
            tuple(
                (there(q), there(k), None if bias is None else bias.to(device))
                for q, k, bias in self.groups
            )
        )


@torch.no_grad()
def style_target(
    query: Tensor, key: Tensor, value: Tensor, own: Tensor, routing: RegionAttention, scale: float
) -> Tensor:
    """Return what a layer's output should be: each region's queries on its matched keys alone.

    The published code multiplies queries, keys and values by 0/1 masks, which leaves every
    foreign key with logit 0 in the softmax and washes small regions out (METHOD 1.5, W1). Here
    the keys are gathered, which is an exact mask.

    Args:
        query: (B, heads, N, d) of the latent being optimised.
        key: (B, heads, M, d) of all references, concatenated.
        value: Likewise.
        own: (B, heads, N, d) output for queries whose region has no keys: the content's own.
        routing: Query and key indices of every region.
        scale: Factor on the queries; above 1 sharpens the attention.
    """
    target = own.clone()
    for asking, seen, bias in routing.groups:
        keys, values = key[:, :, seen], value[:, :, seen]
        target[:, :, asking] = attend(query[:, :, asking] * scale, keys, values, bias)
    return target


def style_energy(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of a layer's output to its target: regions weigh by area."""
    return (output - target).abs().mean()


def content_energy(query: Tensor, content_query: Tensor) -> Tensor:
    """Mean absolute difference of a layer's queries to the content image's own."""
    return (query - content_query).abs().mean()
