"""Crops of pictures and of their designs at the same places."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegallery.adapters.crops import Crops
from stylegallery.adapters.recipe import Recipe
from stylegallery.contrastive.design import DesignPair
from stylegallery.models.diffusion import Models


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Crops of pairs, with the noise that both sides get.

    Attributes:
        textured: (B, C, h, w) clean latents.
        designs: (B, C, h, w) clean latents of the same places.
        opacity: (B, 1, h, w) in [0, 1].
        noise: (B, C, h, w).
        timesteps: (B,) int64.
    """

    textured: Tensor
    designs: Tensor
    opacity: Tensor
    noise: Tensor
    timesteps: Tensor


class PairCrops:
    """Draws crops of pairs; each pair is as likely as the others."""

    def __init__(self, models: Models, pairs: Sequence[DesignPair], recipe: Recipe) -> None:
        """Encode both sides of all pairs at all sizes of the recipe."""
        self.textured = Crops(models, [(pair.textured, 1.0) for pair in pairs], recipe)
        self._designs = Crops(models, [(pair.design, 1.0) for pair in pairs], recipe)
        self._device = models.device

    def draw(self, generator: torch.Generator, count: int, noisiest: int) -> PairBatch:
        """Draw crops of one size.

        Args:
            generator: On the CPU.
            count: Number of crops B.
            noisiest: Upper bound of the timesteps, not included.
        """
        state = generator.get_state()
        designs, _ = self._designs.draw(generator, count)
        generator.set_state(state)  # the same places
        textured, opacity = self.textured.draw(generator, count)
        timesteps = torch.randint(noisiest, (count,), generator=generator).to(self._device)
        noise = torch.randn(textured.shape, generator=generator).to(self._device)
        return PairBatch(textured, designs, opacity, noise, timesteps)
