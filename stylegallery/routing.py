"""Correspondence: which content region takes its style from which reference regions."""

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from schemas.result import FallbackUsed, MatchRow
from stylegallery.errors import BadRouting

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Pin:
    """The user's word that a content region takes its style from one reference region.

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
        style_regions: Number of regions of each reference; they sum to S.
        best: (R,) int64, the main match of each content region, an index into S.
        scores: (R, 4) semantic, statistical, geometric and total similarity of the best match.
        fallback: What each region got instead of its match, or `none`.
        pinned: (R,) bool, True where the user decided.
        area: (R,) share of the image.
        centroid: (R, 2) x and y, 0 to 1.
    """

    log_weights: Tensor
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
        """Return the routing as text that :func:`parse_pins` reads back."""
        matches = [row.model_dump(mode="json") for row in self.rows(style_ids)]
        return json.dumps({"version": FORMAT_VERSION, "matches": matches}, indent=2) + "\n"


def parse_pins(data: bytes | str, style_ids: list[str]) -> list[Pin]:
    """Read pins from JSON in the format of :meth:`Correspondence.to_json`.

    Only `region`, `style_id` and `style_region` of each match are needed; further keys are
    ignored, so that a written routing can be cut down and edited.

    Raises:
        BadRouting: not such a file, or it names a reference that is not in the gallery.
    """
    try:
        document: Any = json.loads(data)
        matches = [
            (int(m["region"]), str(m["style_id"]), int(m["style_region"]))
            for m in document["matches"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise BadRouting(
            "the routing file is not understood; it holds JSON such as "
            '{"matches": [{"region": 0, "style_id": "a", "style_region": 1}]} '
            f"({type(error).__name__}: {error})."
        ) from error
    pins = []
    for region, style_id, style_region in matches:
        if style_id not in style_ids:
            raise BadRouting(
                f"the routing file names reference {style_id!r}, which the gallery lacks; "
                f"it has {', '.join(sorted(style_ids))}."
            )
        pins.append(Pin(region, style_ids.index(style_id), style_region))
    return pins


def pinned_index(pin: Pin, regions: int, style_regions: tuple[int, ...]) -> int:
    """Return the index into S that a pin means.

    Raises:
        BadRouting: the pin names a content region, reference or style region that does not exist.
    """
    if not 0 <= pin.region < regions:
        raise BadRouting(
            f"the routing file pins content region {pin.region}, but the image has regions 0 to "
            f"{regions - 1}; its region map shows which is where."
        )
    if not 0 <= pin.style < len(style_regions):
        raise BadRouting(
            f"the routing pins content region {pin.region} to reference {pin.style} (from 0), but "
            f"there are references 0 to {len(style_regions) - 1}; name one of them."
        )
    if not 0 <= pin.style_region < style_regions[pin.style]:
        raise BadRouting(
            f"the routing file names region {pin.style_region} of reference {pin.style} (from 0), "
            f"which has regions 0 to {style_regions[pin.style] - 1}; its region map shows which is "
            "where."
        )
    return sum(style_regions[: pin.style]) + pin.style_region


def hard_log_weights(best: Tensor, total: int) -> Tensor:
    """Return the (R, S) table that allows exactly one style region for each content region."""
    table = torch.full((len(best), total), -torch.inf)
    table[torch.arange(len(best)), best] = 0.0
    return table
