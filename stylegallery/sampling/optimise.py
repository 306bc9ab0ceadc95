"""The sampler `optimise`: gradient descent on the clean latent."""

import torch
from torch import Tensor

from stylegallery.guidance.loss_trace import LossTrace
from stylegallery.models.diffusion import Models
from stylegallery.sampling.bands import limit_band_energy
from stylegallery.sampling.base import LatentSampler, seeded_noise
from stylegallery.types import RestyledLatent, Step, StyleJob


class OptimiseSampler(LatentSampler):
    """Minimizes the energies by Adam, as attention distillation does (arXiv 2502.20235, eq. 5-6).

    Beyond that method, the start has its matches' colors (:mod:`stylegallery.color.transfer`) and
    a little seeded noise, and at the end unnatural components are suppressed
    (:mod:`stylegallery.sampling.bands`, :func:`denoise_once`). With these turned off and one
    region per image the two methods are equal.
    """

    def sample(self, jobs: list[StyleJob]) -> list[RestyledLatent]:
        """Start, descend and finish; see the class."""
        start = torch.cat([self.start(job) for job in jobs])
        latent, traces = self.descend(start, jobs)
        latent = self.finish(start, latent, jobs)
        made = zip(jobs, latent.split(1), traces, strict=True)
        return [RestyledLatent(job, one, trace) for job, one, trace in made]

    def start(self, job: StyleJob) -> Tensor:
        """Return the latent (1, C, h, w) to start from."""
        start = self.content_latent(job)
        noise = seeded_noise(job, start.shape, self.models.device)
        return start + self.params.start_noise * noise

    def descend(self, start: Tensor, jobs: list[StyleJob]) -> tuple[Tensor, list[tuple[Step, ...]]]:
        """Minimize the energies by Adam, `repeats` steps at each timestep from noisy to clean.

        The timestep only conditions the UNet: no denoising step is taken, and the latent itself
        is the result. Jobs share every UNet call and do not affect each other.

        Args:
            start: (B, C, h, w) float32 latents on the models' device.
            jobs: The B jobs.

        Returns:
            The latents (B, C, h, w) float32, and the steps of each job.

        Raises:
            DidNotConverge: a loss is not finite.
        """
        params = self.params
        latents = [part.clone().requires_grad_() for part in start.split(1)]
        optimizer = torch.optim.Adam(latents, lr=params.learning_rate)
        timesteps = self.models.timesteps(params.steps, params.optimise.schedule)
        total = len(timesteps) * params.optimise.repeats
        trace = LossTrace(params.content_weight, self.on_step, total)
        with self.guidance.recording(self.models, jobs, params, self.cache) as guidance:
            for timestep in (t for t in timesteps for _ in range(params.optimise.repeats)):
                style, content = guidance.energies(torch.cat(latents), timestep)
                optimizer.zero_grad(set_to_none=True)
                trace.loss(timestep, style, content).backward()
                optimizer.step()
                trace.report_step()
        return torch.cat(latents).detach(), trace.steps()

    def finish(self, start: Tensor, latent: Tensor, jobs: list[StyleJob]) -> Tensor:
        """Suppress unnatural components of the result, if `settle_timestep` is not 0.

        Args:
            start: (B, C, h, w) where the descent began.
            latent: (B, C, h, w) where it ended.
            jobs: The B jobs.

        Returns:
            (B, C, h, w).
        """
        if not self.params.optimise.settle_timestep:
            return latent
        ends = zip(start.split(1), latent.split(1), jobs, strict=True)
        limited = torch.cat([_limited(*end) for end in ends])
        return denoise_once(self.models, limited, self.params.optimise.settle_timestep)


def _limited(start: Tensor, latent: Tensor, job: StyleJob) -> Tensor:
    natural = [image.latent.to(start.device) for image in [job.content, *job.styles]]
    return limit_band_energy(start, latent, natural)


@torch.no_grad()
def denoise_once(models: Models, latent: Tensor, timestep: int) -> Tensor:
    """Remove from latents (B, C, h, w) the noise that the UNet predicts at a timestep.

    Optimization leaves components that no encoder produces, and decoders print them as speckle.
    The latent is taken as a clean one with the noise of `timestep`, and the clean one is
    predicted in one step.
    """
    schedule = models.schedule(models.scheduler.config.num_train_timesteps)
    noisy = latent * schedule.alphas_cumprod[timestep].sqrt().to(latent.device)
    prediction = models.denoise(noisy, timestep).float()
    clean: Tensor = schedule.step(prediction, timestep, noisy).pred_original_sample
    return clean
