"""Correspondence: the routing of one content over all references, and its JSON form."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from schemas.result import FallbackUsed, MatchRow
from schemas.text import one_line, short_repr
from stylegallery.errors import BadRouting

FORMAT_VERSION = 1
MAX_BYTES = 2**20
"""Largest routing file accepted."""


@dataclass(frozen=True)
class Pin:
    """The user's decision that a content region takes its style from one reference region.

    Attributes:
        region: Content region.
        style: Index of the reference in the order handed to the engine.
        style_region: Region of that reference.
    """

    region: int
    style: int
    style_region: int


@dataclass(frozen=True, eq=False)
class Correspondence:
    """The routing table of one content image over all references.

    Attributes:
        log_weights: (R, S) added to the attention logits of keys of style region s for queries
            of content region r; 0 is neutral, -inf forbids. S runs over all regions of all
            references in order.
        log_prior: (S,) log weight of the reference that each style region is part of; the
            `log_weights` of regions without a preference.
        style_regions: Number of regions of each reference; they sum to S.
        best: (R,) int64, the main match of each content region, an index into S.
        scores: (R, 4) semantic, statistical, geometric and total similarity of the best match.
        fallback: What each region takes instead of its match, or `none`.
        pinned: (R,) bool, True for regions that the user pinned.
        area: (R,) shares of the image.
        centroid: (R, 2) x and y, 0 to 1.
    """

    log_weights: Tensor
    log_prior: Tensor
    style_regions: tuple[int, ...]
    best: Tensor
    scores: Tensor
    fallback: tuple[FallbackUsed, ...]
    pinned: Tensor
    area: Tensor
    centroid: Tensor

    def locate(self, index: int) -> tuple[int, int]:
        """Return (reference, region within it) of an index into S."""
        for style, count in enumerate(self.style_regions):
            if index < count:
                return style, index
            index -= count
        raise IndexError(f"style region {index} past the end")

    def unrouted(self) -> "Correspondence":
        """Return a correspondence that prefers no match; what is forbidden stays forbidden."""
        table = torch.where(self.log_weights.isfinite(), self.log_prior, -torch.inf)
        return replace(self, log_weights=table)

    def rows(self, style_ids: list[str]) -> list[MatchRow]:
        """Return one row per content region; `style_ids` name the references in order."""
        rows = []
        for region in range(len(self.best)):
            style, style_region = self.locate(int(self.best[region]))
            semantic, statistical, geometric, total = self.scores[region].tolist()
            rows.append(
                MatchRow(
                    region=region,
                    area=round(float(self.area[region]), 6),
                    centroid_x=round(float(self.centroid[region, 0]), 6),
                    centroid_y=round(float(self.centroid[region, 1]), 6),
                    style_id=style_ids[style],
                    style_region=style_region,
                    semantic=round(semantic, 6),
                    statistical=round(statistical, 6),
                    geometric=round(geometric, 6),
                    similarity=round(total, 6),
                    fallback=self.fallback[region],
                    pinned=bool(self.pinned[region]),
                )
            )
        return rows

    def to_json(self, style_ids: list[str]) -> str:
        """Return the routing as JSON text, to read back by :func:`parse_pins`."""
        return routing_json(self.rows(style_ids))


def routing_json(rows: Sequence[MatchRow]) -> str:
    """Return matches as JSON text, to edit and to read back by :func:`parse_pins`."""
    matches = [row.model_dump(mode="json") for row in rows]
    return json.dumps({"version": FORMAT_VERSION, "matches": matches}, indent=2) + "\n"


def parse_pins(data: bytes | str, style_ids: list[str]) -> list[Pin]:
    """Read pins from JSON in the format of :meth:`Correspondence.to_json`.

    Of each match only `region`, `style_id` and `style_region` are read; other keys are ignored.

    Args:
        data: The content of the file.
        style_ids: Ids of the references, in order.

    Raises:
        BadRouting: the text is no such JSON, or names a reference that the gallery lacks.
    """
    if len(data) > MAX_BYTES:
        raise BadRouting(
            f"the routing file has {len(data) / 2**20:.0f} MB, more than {MAX_BYTES // 2**20} MB; "
            "keep one entry for each region to pin."
        )
    try:
        document: Any = json.loads(data)
    except RecursionError as error:
        raise _unreadable("it is nested too deep") from error
    except ValueError as error:
        raise _unreadable(one_line(str(error), 120)) from error
    matches = document.get("matches") if isinstance(document, dict) else None
    if not isinstance(matches, list):
        raise _unreadable("it has no list `matches`")
    return [_pin(place, match, style_ids) for place, match in enumerate(matches)]


def _pin(place: int, match: Any, style_ids: list[str]) -> Pin:
    """Read entry number `place` (from 0) of `matches`."""
    if not isinstance(match, dict):
        raise _unreadable(f"entry {place} of `matches` (from 0) is not an object")
    for name, kind in (("region", int), ("style_id", str), ("style_region", int)):
        value = match.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            what = f"{name} is {short_repr(value, 40)}" if name in match else f"{name} is missing"
            raise _unreadable(f"in entry {place} of `matches` (from 0) {what}")
    if match["style_id"] not in style_ids:
        raise BadRouting(
            f"the routing file names reference {short_repr(match['style_id'])}, which the gallery "
            f"lacks; it has {one_line(', '.join(sorted(style_ids)), 150)}."
        )
    return Pin(match["region"], style_ids.index(match["style_id"]), match["style_region"])


def _unreadable(reason: str) -> BadRouting:
    return BadRouting(
        "the routing file is not valid; write JSON such as "
        '{"matches": [{"region": 0, "style_id": "a", "style_region": 1}]} '
        f"({reason})."
    )


def pinned_index(pin: Pin, regions: int, style_regions: tuple[int, ...]) -> int:
    """Return the index into S of a pin's style region.

    Raises:
        BadRouting: the pin names a content region, reference or style region that does not exist.
    """
    if not 0 <= pin.region < regions:
        raise BadRouting(
            f"the routing file pins content region {short_repr(pin.region)}, but the image has "
            f"regions 0 to {regions - 1}; its region map shows where they are."
        )
    if not 0 <= pin.style < len(style_regions):
        raise BadRouting(
            f"the routing pins content region {pin.region} to reference {pin.style} (from 0), but "
            f"there are references 0 to {len(style_regions) - 1}; name one of them."
        )
    if not 0 <= pin.style_region < style_regions[pin.style]:
        raise BadRouting(
            f"the routing file names region {short_repr(pin.style_region)} of reference "
            f"{pin.style} (from 0), which has regions 0 to {style_regions[pin.style] - 1}; its "
            "region map shows where they are."
        )
    return sum(style_regions[: pin.style]) + pin.style_region


def hard_log_weights(best: Tensor, total: int) -> Tensor:
    """Return the (R, S) log weights that allow one style region for each content region."""
    table = torch.full((len(best), total), -torch.inf)
    table[torch.arange(len(best)), best] = 0.0
    return table
