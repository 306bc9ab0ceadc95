"""DDIM inversion (arXiv 2010.02502), and the timestep-weighted UNet features for regions."""

from collections.abc import Callable, Iterator
from itertools import islice

import torch
from diffusers import DDIMInverseScheduler
from torch import Tensor

from stylegallery.models.diffusion import Models


def timestep_weights(steps: int, decay: float = 5.0, knee: float = 0.7) -> Tensor:
    """Return the normalized weights (steps,) of the inversion steps, first step first.

    d(i) = 1 / (1 + exp(5 (i/T - 0.7))), divided by its sum (StyleGallery, arXiv 2603.10354):
    nearly constant over the low-noise steps, decreasing after 0.7 T.
    """
    index = torch.arange(steps, dtype=torch.float64)
    weights = torch.sigmoid(-decay * (index / steps - knee))
    return (weights / weights.sum()).float()


def unchanged(latents: Tensor) -> Tensor:
    """Return latents (B, C, h, w) as they are: those of separate pictures need not agree."""
    return latents


@torch.no_grad()
def ddim_inversion(
    models: Models, latent: Tensor, steps: int, agree: Callable[[Tensor], Tensor] = unchanged
) -> Iterator[tuple[int, Tensor]]:
    """Invert a clean latent by DDIM, step by step.

    diffusers' inverse scheduler gives the trajectory of the authors' code; the model's schedule
    says whether the UNet predicts noise or velocity. At each yield, hooks and records hold the
    features of that step's UNet call.

    Args:
        models: The diffusion model.
        latent: (B, C, h, w) clean latent.
        steps: Inversion steps T.
        agree: Called with the latents of each step; returns those to go on with. Tiles of one
            picture become equal where they overlap.

    Yields:
        A timestep, from clean to noisy, and the latent (B, C, h, w) float32 at it.
    """
    scheduler = DDIMInverseScheduler.from_config(models.scheduler.config)
    scheduler.set_timesteps(steps)
    for timestep in scheduler.timesteps.tolist():
        prediction = models.denoise(latent, timestep)
        latent = agree(scheduler.step(prediction.float(), timestep, latent).prev_sample)
        yield timestep, latent


def inverted_latents(
    models: Models,
    latent: Tensor,
    steps: int,
    taken: int | None = None,
    agree: Callable[[Tensor], Tensor] = unchanged,
) -> list[Tensor]:
    """Return the latents (B, C, h, w) after all T steps of the inversion, or the first `taken`.

    From clean to noisy; see :func:`ddim_inversion`.
    """
    return [noisy for _, noisy in islice(ddim_inversion(models, latent, steps, agree), taken)]


def inversion_features(models: Models, latent: Tensor, steps: int) -> Tensor:
    """Return the weighted sum of UNet features over a DDIM inversion.

    The features are the output of the last but one up block, on the grid of the latent.

    Args:
        models: The diffusion model.
        latent: (1, C, h, w) clean latent.
        steps: Inversion steps T.

    Returns:
        F_mix, (1, C', h, w) float32.
    """
    fused: list[Tensor] = []
    outputs: list[Tensor] = []
    block = models.unet.up_blocks[-2]
    hook = block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    steps_taken = ddim_inversion(models, latent, steps)
    try:
        for weight, _ in zip(timestep_weights(steps).tolist(), steps_taken, strict=True):
            fused.append(outputs.pop().float() * weight)
    finally:
        hook.remove()
    return torch.stack(fused).sum(dim=0)
