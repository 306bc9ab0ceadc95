"""Optimise the content latent under the style and content energies."""

from collections.abc import Callable

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.bands import limit_moves
from stylegallery.guidance import Guidance, checked_step, guide
from stylegallery.latents import encode
from stylegallery.models import Models
from stylegallery.routing import Correspondence
from stylegallery.tone import match_tone
from stylegallery.types import PreparedImage, Step

OnStep = Callable[[Step], None]


def optimise(
    models: Models,
    content: PreparedImage,
    styles: list[PreparedImage],
    routing: Correspondence,
    params: StyleParams,
    seed: int,
    on_step: OnStep | None = None,
) -> tuple[Tensor, tuple[Step, ...]]:
    """Descend the energies from the content's clean latent, as Attention Distillation does.

    Beyond that method (arXiv 2502.20235, eq. 5 and 6) the start has the tone of its matches
    (:mod:`stylegallery.tone`) and a little seeded noise, and at the end what no picture has is
    taken out (:mod:`stylegallery.bands` and :func:`settle`). With all of that turned off and one
    region a side the two are the same.

    Returns:
        The latent (1, C, h, w) float32 and the losses of every step.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    start = content.latent.to(models.device)
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(seed))
    if params.match_tone:
        toned = match_tone(content.picture.pixels, content, styles, routing)
        factor = models.vae_factor
        start = encode(models, toned, (factor * start.shape[-2], factor * start.shape[-1]))
    start = start + params.start_noise * noise.to(models.device)
    latent, trace = descend(models, start, content, styles, routing, params, on_step)
    if params.settle_timestep:
        natural = [image.latent.to(models.device) for image in [content, *styles]]
        latent = limit_moves(start, latent, natural)
        latent = settle(models, latent, params.settle_timestep)
    return latent, trace


def descend(
    models: Models,
    start: Tensor,
    content: PreparedImage,
    styles: list[PreparedImage],
    routing: Correspondence,
    params: StyleParams,
    on_step: OnStep | None,
    kind: type[Guidance] = Guidance,
) -> tuple[Tensor, tuple[Step, ...]]:
    """Descend the energies by Adam, one step at each timestep from noisy to clean.

    No denoising step is taken: the latent itself is the result (METHOD 1.3).

    Args:
        models: The diffusion model.
        start: (1, C, h, w) float32 latent on the models' device; it stays as it is.
        content: The image to restyle.
        styles: The references that `routing` was made for, in the same order.
        routing: From the method's matching.
        params: Steps, learning rate and weights.
        on_step: Called after every step.
        kind: The energies to descend.

    Returns:
        The latent (1, C, h, w) float32 and the losses of every step.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    latent = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([latent], lr=params.learning_rate)
    trace: list[Step] = []
    with guide(models, content, styles, routing, params, kind) as guidance:
        for index, timestep in enumerate(models.schedule(params.steps).timesteps.tolist()):
            _, *energies = guidance.energies(latent, timestep)
            step, loss = checked_step(index, timestep, energies, params)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            trace.append(step)
            if on_step is not None:
                on_step(step)
    return latent.detach(), tuple(trace)


@torch.no_grad()
def settle(models: Models, latent: Tensor, timestep: int) -> Tensor:
    """Return the picture that the UNet sees in a latent (1, C, h, w) behind a little noise.

    Gradients leave in a latent what no encoder writes, and decoders print it as speckle and
    weave. The latent is taken as clean plus noise of `timestep`, and that noise, as the UNet
    predicts it, is taken out in one step.
    """
    schedule = models.schedule(models.scheduler.config.num_train_timesteps)
    noisy = latent * schedule.alphas_cumprod[timestep].sqrt().to(latent.device)
    prediction = models.denoise(noisy, timestep).float()
    clean: Tensor = schedule.step(prediction, timestep, noisy).pred_original_sample
    return clean
