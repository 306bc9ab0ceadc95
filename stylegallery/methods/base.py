"""What a method must implement: one that finds regions, and one that sees the whole image."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from schemas.methods import Sampler
from schemas.params import StyleParams
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.guidance.loss_trace import OnStep
from stylegallery.matching.correspondence import Correspondence, Pin
from stylegallery.matching.matching import match_whole
from stylegallery.models.diffusion import Models
from stylegallery.regions.descriptors import Descriptors
from stylegallery.regions.priors import NO_PRIORS, SegmentationPriors
from stylegallery.regions.region_map import RegionMap
from stylegallery.sampling.base import LatentSampler
from stylegallery.sampling.guided import GuidedSampler
from stylegallery.sampling.optimise import OptimiseSampler
from stylegallery.types import RestyledLatent, StyleJob

Samplers = Mapping[Sampler, type[LatentSampler]]
"""The class of each sampler that a method offers."""


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """What regions are found from.

    Attributes:
        latent: (1, C, h, w) clean latent.
        unet: (1, C', h, w) timestep-weighted UNet features.
        semantic: (1, D, h', w') features of the semantic encoder, on a grid of its own.
        priors: The user's labels, depth and SAM segments, as far as there are any.
    """

    latent: Tensor
    unet: Tensor
    semantic: Tensor
    priors: SegmentationPriors = NO_PRIORS

    @property
    def grid(self) -> tuple[int, int]:
        """Cells (h, w) of the latent, on which regions live."""
        return int(self.latent.shape[-2]), int(self.latent.shape[-1])


@dataclass(frozen=True, eq=False)
class MatchRequest:
    """What is matched.

    Attributes:
        content: Descriptors of the content's R regions.
        styles: Descriptors of each reference, in order; S regions in all.
        weights: Weight of each reference; equal when None.
        pins: The user's decisions, which override the method's.
    """

    content: Descriptors
    styles: list[Descriptors]
    weights: list[float] | None = None
    pins: list[Pin] | None = None


class StyleMethod(ABC):
    """A style transfer method. An instance serves one call of the engine.

    Attributes:
        samplers: The samplers that the method offers, as `schemas.methods` declares them.
        models: The diffusion model.
        params: The user's parameters.
        cache: Keys and values of references, kept for later calls.
    """

    samplers: ClassVar[Samplers] = {
        "optimise": OptimiseSampler,
        "guided": GuidedSampler,
    }

    def __init__(self, models: Models, params: StyleParams, cache: AttentionCache) -> None:
        self.models, self.params, self.cache = models, params, cache

    @abstractmethod
    def match(self, request: MatchRequest) -> Correspondence:
        """Return which style regions each content region takes its style from.

        Raises:
            BadRouting: a pin names a region that does not exist.
        """

    def restyle(self, jobs: list[StyleJob], on_step: OnStep | None = None) -> list[RestyledLatent]:
        """Return the restyled latents of jobs whose contents have one latent size, in order.

        Raises:
            DidNotConverge: a loss is not finite.
        """
        sampler = self.samplers[self.params.sampler]
        return sampler(self.models, self.params, self.cache, on_step).sample(jobs)


class RegionFinder(StyleMethod):
    """A method with regions. For other methods an image is one region, which needs no features."""

    @abstractmethod
    def segment(self, features: ImageFeatures) -> RegionMap:
        """Return the regions of an image, on the grid of its latent."""


class WholeImageMethod(StyleMethod):
    """A method without regions: each image takes style from all references."""

    def match(self, request: MatchRequest) -> Correspondence:
        """Let the image take style from all references, by their weights."""
        r = request
        return match_whole(r.content, r.styles, r.weights, r.pins)
