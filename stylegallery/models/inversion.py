"""DDIM inversion and the timestep-weighted UNet features on which regions are found."""

from collections.abc import Iterator
from itertools import islice

import torch
from diffusers import DDIMInverseScheduler
from torch import Tensor

from stylegallery.models.diffusion import Models


def timestep_weights(steps: int, decay: float = 5.0, knee: float = 0.7) -> Tensor:
    """Return the normalised weights (steps,) of the inversion steps, first step first.

    d(i) = 1 / (1 + exp(5 (i/T - 0.7))), divided by its sum (METHOD 1.1): nearly flat over the
    low-noise steps, falling off after 0.7 T.
    """
    index = torch.arange(steps, dtype=torch.float64)
    weights = torch.sigmoid(-decay * (index / steps - knee))
    return (weights / weights.sum()).float()


@torch.no_grad()
def inversion(models: Models, latent: Tensor, steps: int) -> Iterator[tuple[int, Tensor]]:
    """Invert a clean latent by DDIM, step by step.

    The library's inverse scheduler gives the published trajectory; it reads from the model's
    schedule whether the UNet predicts noise or velocity. At each yield the UNet has just been
    called for that step, so hooks and records hold what it saw.

    Args:
        models: The diffusion model.
        latent: (1, C, h, w) clean latent.
        steps: Inversion steps T.

    Yields:
        A timestep, from clean to noisy, and the latent (1, C, h, w) float32 that belongs to it.
    """
    scheduler = DDIMInverseScheduler.from_config(models.scheduler.config)
    scheduler.set_timesteps(steps)
    for timestep in scheduler.timesteps.tolist():
        prediction = models.denoise(latent, timestep)
        latent = scheduler.step(prediction.float(), timestep, latent).prev_sample
        yield timestep, latent


def inverted(models: Models, latent: Tensor, steps: int, taken: int | None = None) -> list[Tensor]:
    """Return the latents (1, C, h, w) of :func:`inversion`, clean to noisy.

    They are those of all T steps, or of the first `taken`.
    """
    return [there for _, there in islice(inversion(models, latent, steps), taken)]


def inversion_features(models: Models, latent: Tensor, steps: int) -> Tensor:
    """Invert a clean latent by DDIM and fuse the features seen on the way.

    The features are the output of the last but one up block, which lies on the latent's grid.

    Args:
        models: The diffusion model.
        latent: (1, C, h, w) clean latent.
        steps: Inversion steps T.

    Returns:
        F_mix, (1, C', h, w) float32.
    """
    fused: list[Tensor] = []
    seen: list[Tensor] = []
    block = models.unet.up_blocks[-2]
    hook = block.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    walk = inversion(models, latent, steps)
    try:
        for weight, _ in zip(timestep_weights(steps).tolist(), walk, strict=True):
            fused.append(seen.pop().float() * weight)
    finally:
        hook.remove()
    return torch.stack(fused).sum(dim=0)
