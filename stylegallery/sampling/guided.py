"""The sampler `guided`: DDIM sampling from the inverted content, guided by the energies."""

from collections.abc import Callable

import torch
from torch import Tensor

from stylegallery.guidance.guidance import Guidance
from stylegallery.guidance.loss_trace import LossTrace
from stylegallery.models.diffusion import Models
from stylegallery.models.inversion import inverted_latents, unchanged
from stylegallery.sampling.base import LatentSampler, seeded_noise
from stylegallery.sampling.tiles import TileGrid
from stylegallery.types import PreparedImage, RestyledLatent, Step, StyleJob


class GuidedSampler(LatentSampler):
    """Takes DDIM steps, each followed by a step down the gradient of the energies.

    This is the sampling that the text of StyleGallery (arXiv 2603.10354) describes; the authors'
    code optimizes a latent instead. The start is the content's latent, in its matches' colors if
    asked for, inverted over the share `strength` of the schedule. Contents and references are
    compared at equal noise: their latents are those of their own inversion at the same timestep,
    or at the nearest of the `anchors`.

    The gradient is normalized to root mean square 1 and scaled by `learning_rate` times the
    standard deviation of the noise left in the latent, so that later steps can still denoise what
    a step adds.
    """

    def sample(self, jobs: list[StyleJob]) -> list[RestyledLatent]:
        """Sample from the inverted contents; see the class."""
        clean = torch.cat([self.content_latent(job) for job in jobs])
        noise = torch.cat([seeded_noise(job, clean[:1].shape, clean.device) for job in jobs])
        latents, traces = self.descend(clean, noise, jobs)
        made = zip(jobs, latents.split(1), traces, strict=True)
        return [RestyledLatent(job, one, steps) for job, one, steps in made]

    def descend(
        self, clean: Tensor, noise: Tensor, jobs: list[StyleJob]
    ) -> tuple[Tensor, list[tuple[Step, ...]]]:
        """Invert clean latents and sample from there; see the class.

        Args:
            clean: (B, C, h, w) latents to start from, one a job.
            noise: (B, C, h, w) Gaussian noise; `start_noise` says how much of it is mixed in.
            jobs: The B jobs.

        Returns:
            The latents (B, C, h, w), and the steps of each job.

        Raises:
            DidNotConverge: a loss is not finite.
        """
        params = self.params
        schedule = self.models.schedule(params.steps)
        taken = max(1, round(params.strength * params.steps))
        timesteps = schedule.timesteps.tolist()[-taken:]
        source = self.inverted(clean, timesteps)
        share = params.start_noise  # the variance of the noisy latent is kept
        latent = (1 - share**2) ** 0.5 * source.start + share * noise
        trace = LossTrace(params.content_weight, self.on_step, taken)
        with self.guidance.recording(self.models, jobs, params, self.cache, source) as guidance:
            for timestep in timesteps:
                prediction, gradient = self.predict(guidance, latent, timestep, trace)
                latent = schedule.step(prediction, timestep, latent)[0]
                size = self.mean_square(gradient).sqrt().clamp(min=1e-12)
                left = (1 - schedule.alphas_cumprod[timestep]).sqrt().item()
                latent = self.agree(latent - params.learning_rate * left * gradient / size)
                trace.report_step()
        return latent, trace.steps()

    def inverted(self, clean: Tensor, timesteps: list[int]) -> "InvertedLatents":
        """Return the inversion of clean latents (B, C, h, w) of the contents."""
        return InvertedLatents(self.models, clean, timesteps, self.params.steps)

    def predict(
        self, guidance: Guidance, latent: Tensor, timestep: int, trace: LossTrace
    ) -> tuple[Tensor, Tensor]:
        """Return prediction and gradient of the losses (B, C, h, w) of all jobs."""
        latent = latent.detach().requires_grad_()
        prediction, style, content = guidance.predict(latent, timestep)
        gradient = torch.autograd.grad(trace.loss(timestep, style, content), latent)[0]
        return prediction.detach().float(), gradient

    def agree(self, latents: Tensor) -> Tensor:
        """Return the latents (B, C, h, w) to go on with after a step."""
        return unchanged(latents)

    def mean_square(self, gradient: Tensor) -> Tensor:
        """Return the mean square (B, 1, 1, 1) of each picture's gradient."""
        return gradient.square().mean(dim=(1, 2, 3), keepdim=True)


class InvertedLatents:
    """Latents of contents and references along their DDIM inversion."""

    rotate_keys = True

    def __init__(
        self,
        models: Models,
        contents: Tensor,
        timesteps: list[int],
        inversion_steps: int,
        tiles: TileGrid | None = None,
    ) -> None:
        """Invert the contents; references are inverted when first used.

        Args:
            models: The diffusion model.
            contents: (B, C, h, w) clean latents. With `match_tone` they have their matches'
                colors; inverting the original latents too would cost as much again, and
                measured no better.
            timesteps: Timesteps of the sampler, from noisy to clean.
            inversion_steps: Steps of the whole schedule.
            tiles: The tiles of one picture that the contents are, or None for B pictures.
        """
        self.timesteps, self.inversion_steps, self._models = timesteps, inversion_steps, models
        self.limit_keys = tiles is not None
        self._contents = self._inverted(contents, unchanged if tiles is None else tiles.agreed)
        self._styles: dict[PreparedImage, list[Tensor]] = {}

    @property
    def start(self) -> Tensor:
        """Latents (B, C, h, w) of the contents at the first timestep."""
        return self._contents[-1]

    def content(self, job: int, timestep: int) -> Tensor:
        """Return the latent (1, C, h, w) of a job's content at a timestep."""
        return self._contents[self._place(timestep)][job : job + 1]

    def style(self, image: PreparedImage, timestep: int) -> Tensor:
        """Return the latent (1, C, h, w) of a reference at a timestep."""
        if image not in self._styles:
            self._styles[image] = self._inverted(image.latent.to(self._models.device))
        return self._styles[image][self._place(timestep)]

    def _inverted(
        self, latent: Tensor, agree: Callable[[Tensor], Tensor] = unchanged
    ) -> list[Tensor]:
        taken = len(self.timesteps)
        return inverted_latents(self._models, latent, self.inversion_steps, taken, agree)

    def _place(self, timestep: int) -> int:
        return -1 - self.timesteps.index(timestep)  # inversion runs from clean to noisy
