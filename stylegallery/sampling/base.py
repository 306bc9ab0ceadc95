"""The base of samplers, which compute the restyled latents of a batch of jobs."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.color.transfer import transfer_color
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.guidance.guidance import Guidance
from stylegallery.guidance.loss_trace import OnStep
from stylegallery.models.diffusion import Models
from stylegallery.models.vae import encode
from stylegallery.types import RestyledLatent, StyleJob


class LatentSampler(ABC):
    """Samples the latents of one batch.

    Attributes:
        guidance: The energies that guide the sampler.
        models: The diffusion model.
        params: Parameters of the batch.
        cache: Keys and values of references, kept for later batches.
        on_step: Called after every step, if given.
    """

    guidance: ClassVar[type[Guidance]] = Guidance

    def __init__(
        self,
        models: Models,
        params: StyleParams,
        cache: AttentionCache,
        on_step: OnStep | None = None,
    ) -> None:
        self.models, self.params, self.cache, self.on_step = models, params, cache, on_step

    @abstractmethod
    def sample(self, jobs: list[StyleJob]) -> list[RestyledLatent]:
        """Return the restyled latents of jobs whose contents have one latent size, in order.

        Raises:
            DidNotConverge: a loss is not finite.
        """

    def content_latent(self, job: StyleJob) -> Tensor:
        """Return the content's clean latent (1, C, h, w), in its matches' colors if asked for."""
        latent, tones = job.content.latent, self.params.tones
        if tones.match_tone:
            images = (job.content, job.styles, job.routing)
            pixels = transfer_color(job.content.picture.pixels, *images, tones.tone_lightness)
            height, width = (self.models.vae_factor * int(side) for side in latent.shape[-2:])
            latent = encode(self.models, pixels, (height, width))
        return latent.to(self.models.device)


def seeded_noise(job: StyleJob, shape: torch.Size, device: torch.device) -> Tensor:
    """Return Gaussian noise of a shape from the job's seed; the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(job.seed)).to(device)
