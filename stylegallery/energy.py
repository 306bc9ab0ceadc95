"""The two energies of the method, layer by layer (METHOD 1.3 and 3.0)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stylegallery.attention import attend


@dataclass(frozen=True, eq=False)
class RegionAttention:
    """Which queries of one grid attend to which keys, worked out once per image.

    Attributes:
        groups: For each content region that has keys, or those whose rows of the table are the
            same: indices of its queries (n,), indices of the keys it may see (m,) or None for all,
            and the bias (m,) on their logits or None when it is zero.
    """

    groups: tuple[tuple[Tensor, Tensor | None, Tensor | None], ...]

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
                whole = len(seen) == len(keys)  # to gather all keys would copy them at every step
                groups.append((asking, None if whole else seen, None if flat else chosen))
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
            if seen is None and keys > most:
                seen = torch.arange(keys, device=asking.device)
            if seen is not None and len(seen) > most:
                turns = -(-len(seen) // most)
                turn = slice(step % turns, None, turns)
                seen, bias = seen[turn], None if bias is None else bias[turn]
            groups.append((asking, seen, bias))
        return RegionAttention(tuple(groups))

    def to(self, device: torch.device) -> "RegionAttention":
        """Return the same groups on `device`."""

        def there(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.to(device)

        return RegionAttention(tuple((q.to(device), there(k), there(b)) for q, k, b in self.groups))


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
        keys, values = (p if seen is None else p[:, :, seen] for p in (key, value))
        target[:, :, asking] = attend(query[:, :, asking] * scale, keys, values, bias)
    return target


def style_energy(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of a layer's output to its target: regions weigh by area."""
    return (output - target).abs().mean()


def content_energy(query: Tensor, content_query: Tensor) -> Tensor:
    """Mean absolute difference of a layer's queries to the content image's own."""
    return (query - content_query).abs().mean()
