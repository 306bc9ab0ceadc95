"""Sampler with one learnt style a reference, blended by the references' weights."""

from collections.abc import Sequence

import torch

from stylegallery.adapters.adapter import Adapter
from stylegallery.sampling.adapted import InvertedSampler
from stylegallery.types import RestyledLatent, StyleJob


class BlendedSampler(InvertedSampler):
    """Inverts the contents with the plain UNet and denoises them with their references' adapters.

    Takes the share `strength` of `steps` steps each way.
    """

    def sample(self, jobs: list[StyleJob]) -> list[RestyledLatent]:
        """Invert and denoise; contents with equal weights share UNet calls."""
        groups: dict[tuple[float, ...], list[int]] = {}
        for index, job in enumerate(jobs):
            shares = job.routing.log_weights[0].softmax(dim=0)  # a pin leaves one reference
            groups.setdefault(tuple(shares.tolist()), []).append(index)
        made: dict[int, RestyledLatent] = {}
        for weights, indices in groups.items():
            some = [jobs[index] for index in indices]
            clean = torch.cat([self.content_latent(job) for job in some])
            latents = self.restyled(clean, blended(some[0].adapters, weights))
            made.update(zip(indices, self.results(some, latents), strict=True))
        return [made[index] for index in range(len(jobs))]

    def step_counts(self) -> tuple[int, int]:
        """Return the steps of the whole schedule, and how many of them are taken each way."""
        return self.params.steps, max(1, round(self.params.strength * self.params.steps))


def blended(adapters: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
    """Return one adapter whose change is the weighted sum of the changes of several.

    Args:
        adapters: One or more, for one UNet.
        weights: One for each; their sum is 1.
    """
    parts: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for adapter, weight in zip(adapters, weights, strict=True):
        for name, (down, up) in adapter.factors.items():
            parts.setdefault(name, []).append((down, weight * up))
    return Adapter(
        {
            name: (torch.cat([down for down, _ in pairs]), torch.cat([up for _, up in pairs], 1))
            for name, pairs in parts.items()
        }
    )
