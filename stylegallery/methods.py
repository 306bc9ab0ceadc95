"""Which functions make up which method: the table that the engine looks them up in."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from torch import Tensor

from schemas.methods import Method, Sampler
from schemas.params import StyleParams
from stylegallery import guided, matching, published, sampling, segmentation, styleid
from stylegallery.models import Models
from stylegallery.regions import RegionMap
from stylegallery.routing import Correspondence, Pin
from stylegallery.types import Descriptors, PreparedImage, Step

Segment = Callable[[Tensor, Tensor, Tensor, StyleParams, Tensor | None], RegionMap]
"""UNet features, semantic features, latent, parameters and the user's labels to regions."""

Match = Callable[
    [Descriptors, list[Descriptors], StyleParams, list[float] | None, list[Pin] | None],
    Correspondence,
]
"""Content, references, parameters, their weights and pins to a routing."""


class Restyle(Protocol):
    """Makes the restyled latent (1, C, h, w) and the losses on the way."""

    def __call__(
        self,
        models: Models,
        content: PreparedImage,
        styles: list[PreparedImage],
        routing: Correspondence,
        params: StyleParams,
        seed: int,
        on_step: sampling.OnStep | None,
    ) -> tuple[Tensor, tuple[Step, ...]]:
        """Restyle the content as routed."""
        ...


@dataclass(frozen=True)
class Algorithm:
    """One method.

    Attributes:
        segment: Finds the regions of an image.
        match: Finds where each region of the content takes its style from.
        restyle: What makes the result, by sampler.
    """

    segment: Segment
    match: Match
    restyle: dict[Sampler, Restyle]


METHODS: Final[dict[Method, Algorithm]] = {
    "stylegallery": Algorithm(
        segmentation.segment,
        matching.match,
        {"optimise": sampling.optimise, "guided": guided.sample},
    ),
    "stylegallery-paper": Algorithm(
        published.segment,
        published.match,
        {
            "optimise": published.optimise,
            "guided": partial(guided.sample, kind=published.PublishedGuidance),
        },
    ),
    "attention-distillation": Algorithm(
        segmentation.whole,
        matching.match_whole,
        {"optimise": sampling.optimise, "guided": guided.sample},
    ),
    "styleid": Algorithm(segmentation.whole, matching.match_whole, {"optimise": styleid.sample}),
}
