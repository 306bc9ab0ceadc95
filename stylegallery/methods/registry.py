"""Which functions make up which method: the table that the engine looks them up in."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from torch import Tensor

from schemas.methods import Method, Sampler
from schemas.params import StyleParams
from stylegallery.guidance.attention_cache import AttentionBank
from stylegallery.guidance.loss_trace import OnStep
from stylegallery.matching import matching
from stylegallery.matching.correspondence import Correspondence, Pin
from stylegallery.methods import published, styleid
from stylegallery.methods.zerofill import PublishedGuidance
from stylegallery.models.diffusion import Models
from stylegallery.regions import segmentation
from stylegallery.regions.descriptors import Descriptors
from stylegallery.regions.priors import SegmentationPriors
from stylegallery.regions.region_map import RegionMap
from stylegallery.sampling import guided, optimise
from stylegallery.types import Job

Segment = Callable[[Tensor, Tensor, Tensor, StyleParams, SegmentationPriors], RegionMap]
"""UNet features, semantic features, latent, parameters and priors to regions."""

Match = Callable[
    [Descriptors, list[Descriptors], StyleParams, list[float] | None, list[Pin] | None],
    Correspondence,
]
"""Content, references, parameters, their weights and pins to a routing."""


class Restyle(Protocol):
    """Makes the restyled latents (B, C, h, w) of jobs of one latent size, and their losses."""

    def __call__(
        self,
        models: Models,
        jobs: list[Job],
        params: StyleParams,
        bank: AttentionBank,
        on_step: OnStep | None,
    ) -> optimise.Restyled:
        """Restyle the contents as routed."""
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
        {"optimise": optimise.optimise, "guided": guided.sample},
    ),
    "stylegallery-paper": Algorithm(
        published.segment,
        published.match,
        {
            "optimise": published.optimise,
            "guided": partial(guided.sample, kind=PublishedGuidance),
        },
    ),
    "attention-distillation": Algorithm(
        segmentation.whole,
        matching.match_whole,
        {"optimise": optimise.optimise, "guided": guided.sample},
    ),
    "styleid": Algorithm(segmentation.whole, matching.match_whole, {"optimise": styleid.sample}),
}
