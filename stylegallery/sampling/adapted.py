"""Samplers that denoise contents with a learnt style, in one to sixteen UNet passes."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from stylegallery.adapters.adapter import Adapter
from stylegallery.adapters.layers import merged
from stylegallery.models.inversion import inverted_latents
from stylegallery.sampling.base import LatentSampler, seeded_noise
from stylegallery.types import RestyledLatent, Step, StyleJob

_ONE_PASS, _SEVERAL = 300, 500
"""Timestep of the noise for one pass and for several: one pass cannot restore more."""


def shared_adapters(jobs: list[StyleJob]) -> tuple[Adapter, ...]:
    """Return the adapters of jobs that all have the same.

    Raises:
        ValueError: a job has none, or others.
    """
    adapters = jobs[0].adapters
    if not adapters or any(job.adapters != adapters for job in jobs):
        raise ValueError("the jobs of a batch need equal adapters; use StyleGallery.sample_batch.")
    return adapters


def shared_adapter(jobs: list[StyleJob]) -> Adapter:
    """Return the adapter of jobs that all have the same one, of all references.

    Raises:
        ValueError: a job has none or several, or another one.
    """
    (adapter,) = shared_adapters(jobs)
    return adapter


class AdaptedSampler(LatentSampler):
    """Denoises noisy contents with the UNet that the adapter changes.

    Uses `adapter_scale` and the prompts. No energy is minimized, so the losses of the steps are 0.
    """

    def denoised(
        self, latent: Tensor, timesteps: list[int], steps: int, adapter: Adapter
    ) -> Tensor:
        """Return clean latents (B, C, h, w) after steps with one adapter; see :meth:`along`."""
        told = self.models.condition(self.params.prompts, adapted=True)
        predict = partial(self.models.denoise, condition=told)
        with merged(self.models.unet, adapter, self.params.adapter.adapter_scale):
            return self.along(latent, timesteps, steps, predict)

    def along(
        self,
        latent: Tensor,
        timesteps: list[int],
        steps: int,
        predict: Callable[[Tensor, int], Tensor],
    ) -> Tensor:
        """Return clean latents (B, C, h, w) after DDIM steps (arXiv 2010.02502).

        The last step predicts the clean latent itself.

        Args:
            latent: (B, C, h, w) at the first timestep.
            timesteps: From noisy to clean, as far apart as those of a schedule of `steps`.
            steps: Steps of the whole schedule.
            predict: Returns the prediction for latents at a timestep.
        """
        schedule = self.models.schedule(steps)
        for index, timestep in enumerate(timesteps):
            step = schedule.step(predict(latent, timestep).float(), timestep, latent)
            last = index == len(timesteps) - 1
            latent = step.pred_original_sample if last else step.prev_sample
            if self.on_step is not None:
                self.on_step(Step(index, len(timesteps), timestep, 0.0, 0.0, 0.0))
        return latent

    def results(self, jobs: list[StyleJob], latent: Tensor) -> list[RestyledLatent]:
        """Return latents (B, C, h, w) as the results of B jobs."""
        parts = zip(jobs, latent.split(1), strict=True)
        return [RestyledLatent(job, one, ()) for job, one in parts]


class NoisedSampler(AdaptedSampler):
    """Adds seeded noise to the contents and removes it in one to four passes.

    One-step stylization of SMS (arXiv 2503.07601) with the adapted UNet itself instead of a
    distilled one: noise hides the content's texture, and the UNet fills in the learnt one.
    """

    @torch.no_grad()
    def sample(self, jobs: list[StyleJob]) -> list[RestyledLatent]:
        """Add noise and remove it; see the class."""
        passes = self.params.sms.passes
        first = _ONE_PASS if passes == 1 else _SEVERAL
        clean = torch.cat([self.content_latent(job) for job in jobs])
        noise = torch.cat([seeded_noise(job, clean[:1].shape, clean.device) for job in jobs])
        scheduler = self.models.scheduler
        noisy = scheduler.add_noise(clean, noise, torch.tensor([first], device=clean.device))
        timesteps = [first - index * first // passes for index in range(passes)]
        steps = scheduler.config.num_train_timesteps * passes // first
        return self.results(jobs, self.denoised(noisy, timesteps, steps, shared_adapter(jobs)))


class InvertedSampler(AdaptedSampler):
    """Inverts the contents with the plain UNet and denoises them with the adapted one.

    Uses `passes`: half of them invert, over the share `strength` of the schedule, and half denoise.
    The inverted noise keeps the content's forms better than random noise does.
    """

    def sample(self, jobs: list[StyleJob]) -> list[RestyledLatent]:
        """Invert and denoise; see the class."""
        clean = torch.cat([self.content_latent(job) for job in jobs])
        return self.results(jobs, self.restyled(clean, shared_adapter(jobs)))

    @torch.no_grad()
    def restyled(self, clean: Tensor, adapter: Adapter) -> Tensor:
        """Return latents (B, C, h, w) inverted with the plain UNet and denoised with an adapter."""
        steps, taken = self.step_counts()
        noisy = inverted_latents(self.models, clean, steps, taken)[-1]
        return self.denoised(noisy, self.models.timesteps(steps)[-taken:], steps, adapter)

    def step_counts(self) -> tuple[int, int]:
        """Return the steps of the whole schedule, and how many of them are taken each way."""
        taken = self.params.sms.passes // 2
        return max(taken, round(taken / self.params.strength)), taken
