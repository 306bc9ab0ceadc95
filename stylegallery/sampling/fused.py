"""Sampler that denoises contents with several learnt styles at once, each in its regions."""

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.adapters.layers import Branch, branches, on_device
from stylegallery.models.diffusion import Models
from stylegallery.models.inversion import inverted_latents
from stylegallery.models.prompts import Condition, guided, joined
from stylegallery.sampling.adapted import AdaptedSampler, shared_adapters
from stylegallery.sampling.injection import injected
from stylegallery.sampling.style_masks import cell_masks, leading_shares, style_shares
from stylegallery.types import RestyledLatent, StyleJob

_SOURCE, _PLAIN, _ADAPTED, _NEGATIVE = range(4)
"""Texts of a row: none, `prompt`, that and `style_prompt`, and `negative_prompt`."""


class FusedSampler(AdaptedSampler):
    """Inverts the contents, and denoises them with one adapter for each reference.

    Uses `steps`, `strength`, `adapter_scale`, the prompts and the parameters of `diffstyler`.
    Nothing is random, so seeds have no effect.
    """

    @torch.no_grad()
    def sample(self, jobs: list[StyleJob]) -> list[RestyledLatent]:
        """Invert over the share `strength` of the schedule, and denoise."""
        steps = self.params.steps
        taken = max(1, round(self.params.strength * steps))
        clean = torch.cat([self.content_latent(job) for job in jobs])
        inverted = inverted_latents(self.models, clean, steps, taken)
        timesteps = self.models.timesteps(steps)[-taken:]
        sources = dict(zip(timesteps, inverted[::-1], strict=True))
        fusion = _Fusion(self.models, self.params, jobs, sources)
        return self.results(jobs, self.along(inverted[-1], timesteps, steps, fusion.predict))


class _Fusion:
    """Predictions with all adapters, joined by masks; one UNet call a step.

    The rows of a call are the inverted contents, while their features are injected, then for each
    job its latent with the plain model, if a region keeps the content, and with each adapter that
    has a share in it. With guidance, all but the inverted contents are there twice.
    """

    def __init__(
        self, models: Models, params: StyleParams, jobs: list[StyleJob], sources: dict[int, Tensor]
    ) -> None:
        """Prepare the fusion of jobs.

        Args:
            models: The diffusion model.
            params: Parameters of the method.
            jobs: B jobs with the same adapters, one for each of n references.
            sources: Timestep to the inverted contents (B, C, h, w), from noisy to clean.
        """
        self._models, self._params, self._jobs, self._sources = models, params, jobs, sources
        self._shares = [style_shares(job, params.diffstyler.blend) for job in jobs]
        self._factors = [on_device(one.factors, models) for one in shared_adapters(jobs)]
        prompts = params.prompts
        texts = ("", prompts.prompt, prompts.adapted_prompt, prompts.negative_prompt)
        self._texts = joined([models.embedding(text) for text in texts])
        self._places = {timestep: place for place, timestep in enumerate(sources)}

    def predict(self, latent: Tensor, timestep: int) -> Tensor:
        """Return the joint prediction (B, C, h, w) for latents of the jobs."""
        masks = self._masks(timestep)
        used = masks.flatten(2).any(dim=2).nonzero()  # (rows, 2): job, and 0 or 1 + adapter
        own, weights = used[:, 0].to(latent.device), masks[used[:, 0], used[:, 1]]
        chosen = used[:, 1].to(latent.device)
        jobs, texts = own, torch.where(chosen > 0, _ADAPTED, _PLAIN)
        guidance = self._params.prompts.guidance
        if guidance > 1:
            jobs, chosen = jobs.repeat(2), chosen.repeat(2)
            texts = torch.cat([texts, torch.full_like(texts, _NEGATIVE)])
        rows, numbers, first = latent[jobs], jobs, 0
        features, attention = self._injection(timestep)
        if features or attention:
            rows, first = torch.cat([self._sources[timestep], rows]), len(latent)
            numbers = torch.cat([torch.arange(first, device=latent.device), jobs])
            texts = torch.cat([texts.new_full((first,), _SOURCE), texts])
        added = [
            self._branch(number, first + (chosen == number).nonzero()[:, 0])
            for number in chosen.unique().tolist()
            if number > 0
        ]
        unet = self._models.unet
        with branches(unet, *added), injected(unet, numbers, features, attention):
            told = Condition(self._texts.take(texts))
            predicted = self._models.denoise(rows, timestep, told).float()[first:]
        if guidance > 1:
            predicted = guided(predicted, guidance)
        weighted = weights[:, None] * predicted
        return torch.stack([weighted[own == job].sum(dim=0) for job in range(len(latent))])

    def _masks(self, timestep: int) -> Tensor:
        """Return the weights (B, 1 + n, h, w) of the plain model and each adapter at a step."""
        shares = self._shares
        if self._params.diffstyler.blend == "in-turn":
            progress = self._places[timestep] / len(self._places)
            shares = [leading_shares(own, progress) for own in shares]
        pairs = zip(self._jobs, shares, strict=True)
        return torch.stack([cell_masks(*pair) for pair in pairs]).to(self._models.device)

    def _injection(self, timestep: int) -> tuple[bool, float]:
        """Return whether features are injected at a step, and the share of queries and keys.

        The share falls with the noise, from twice the timestep over the whole schedule.
        """
        chosen, place, steps = self._params.diffstyler, self._places[timestep], len(self._places)
        share = min(1.0, 2 * timestep / self._models.scheduler.config.num_train_timesteps)
        attends = place < round(chosen.inject_attention * steps)
        return place < round(chosen.inject_features * steps), share if attends else 0.0

    def _branch(self, number: int, rows: Tensor) -> Branch:
        """Return the branch of an adapter, numbered from 1, for some rows of a call."""
        scales = torch.full((len(rows),), self._params.adapter.adapter_scale, device=rows.device)
        return Branch(self._factors[number - 1], scales, rows)
