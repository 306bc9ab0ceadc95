"""The sampler `guided`: DDIM sampling from the inverted content, guided by the energies."""

import torch
from torch import Tensor

from stylegallery.guidance.loss_trace import LossTrace
from stylegallery.models.diffusion import Models
from stylegallery.models.inversion import inverted_latents
from stylegallery.sampling.base import LatentSampler, seeded_noise
from stylegallery.types import PreparedImage, RestyledLatent, StyleJob


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
        params = self.params
        schedule = self.models.schedule(params.steps)
        taken = max(1, round(params.strength * params.steps))
        clean = torch.cat([self.content_latent(job) for job in jobs])
        timesteps = schedule.timesteps.tolist()[-taken:]
        source = InvertedLatents(self.models, clean, timesteps, params.steps)
        starts = zip(source.start, jobs, strict=True)
        latent = torch.cat([self._add_noise(start, job) for start, job in starts])
        trace = LossTrace(params.content_weight, self.on_step, taken)
        with self.guidance.recording(self.models, jobs, params, self.cache, source) as guidance:
            for timestep in timesteps:
                latent.requires_grad_()
                prediction, style, content = guidance.predict(latent, timestep)
                loss = trace.loss(timestep, style, content)
                gradient = torch.autograd.grad(loss, latent)[0]
                latent = schedule.step(prediction.detach().float(), timestep, latent.detach())[0]
                size = gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
                noise = (1 - schedule.alphas_cumprod[timestep]).sqrt().item()
                latent = latent - params.learning_rate * noise * gradient / size
                trace.report_step()
        made = zip(jobs, latent.split(1), trace.steps(), strict=True)
        return [RestyledLatent(job, one, steps) for job, one, steps in made]

    def _add_noise(self, latent: Tensor, job: StyleJob) -> Tensor:
        """Mix seeded noise into a noisy latent (1, C, h, w) and keep its variance."""
        share = self.params.start_noise
        noise = seeded_noise(job, latent.shape, latent.device)
        mixed: Tensor = (1 - share**2) ** 0.5 * latent + share * noise
        return mixed


class InvertedLatents:
    """Latents of contents and references along their DDIM inversion."""

    rotate_keys = True

    def __init__(
        self, models: Models, contents: Tensor, timesteps: list[int], inversion_steps: int
    ) -> None:
        """Invert the contents; references are inverted when first used.

        Args:
            models: The diffusion model.
            contents: (B, C, h, w) clean latents. With `match_tone` they have their matches'
                colors; inverting the original latents too would cost as much again, and
                measured no better.
            timesteps: Timesteps of the sampler, from noisy to clean.
            inversion_steps: Steps of the whole schedule.
        """
        self.timesteps, self.inversion_steps, self._models = timesteps, inversion_steps, models
        self._contents = self._inverted(contents)
        self._styles: dict[PreparedImage, list[Tensor]] = {}

    @property
    def start(self) -> tuple[Tensor, ...]:
        """Latents (1, C, h, w) of the contents at the first timestep."""
        latents: tuple[Tensor, ...] = self._contents[-1].split(1)
        return latents

    def content(self, job: int, timestep: int) -> Tensor:
        """Return the latent (1, C, h, w) of a job's content at a timestep."""
        return self._contents[self._place(timestep)][job : job + 1]

    def style(self, image: PreparedImage, timestep: int) -> Tensor:
        """Return the latent (1, C, h, w) of a reference at a timestep."""
        if image not in self._styles:
            self._styles[image] = self._inverted(image.latent.to(self._models.device))
        return self._styles[image][self._place(timestep)]

    def _inverted(self, latent: Tensor) -> list[Tensor]:
        return inverted_latents(self._models, latent, self.inversion_steps, len(self.timesteps))

    def _place(self, timestep: int) -> int:
        return -1 - self.timesteps.index(timestep)  # inversion runs from clean to noisy
