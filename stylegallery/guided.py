"""Energy-guided DDIM sampling: denoise the inverted content and let the energies steer."""

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.adain import adain
from stylegallery.guidance import Guidance, checked_step, guide
from stylegallery.inversion import inverted
from stylegallery.models import Models
from stylegallery.routing import Correspondence
from stylegallery.sampling import OnStep
from stylegallery.types import PreparedImage, Step


def sample(
    models: Models,
    content: PreparedImage,
    styles: list[PreparedImage],
    routing: Correspondence,
    params: StyleParams,
    seed: int,
    on_step: OnStep | None = None,
    kind: type[Guidance] = Guidance,
) -> tuple[Tensor, tuple[Step, ...]]:
    """Take DDIM steps, each followed by one down the gradient of the energies.

    This is what the paper's text says where its code optimises a latent (METHOD 1.4, row 1).
    The start is the inverted content, with `match_tone` in the
    statistics of the inverted references. The energies
    compare like with like: content and references are shown as their own inversion left them
    at the same timestep, as noisy as the latent is by then.

    A move is `learning_rate` times the gradient of root mean square 1 times the deviation of the
    noise that the latent still holds: what a step adds, later steps can still make natural.

    Args:
        models: The diffusion model.
        content: The image to restyle.
        styles: The references that `routing` was made for, in the same order.
        routing: From the method's matching.
        params: `steps` counts the inversion's steps as well; `learning_rate` is described above.
        seed: Of the noise, `start_noise`, that is mixed into the start.
        on_step: Called after every step.
        kind: The energies to descend.

    Returns:
        The latent (1, C, h, w) float32 and the losses of every step.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    paths = [inverted(models, i.latent.to(models.device), params.steps) for i in [content, *styles]]
    start = latent = paths[0][-1]
    if params.match_tone:
        latent = adain(start, [path[-1] for path in paths[1:]], content, styles, routing)
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(seed))
    kept = (1 - params.start_noise**2) ** 0.5  # the variance stays
    latent = kept * latent + params.start_noise * noise.to(models.device)
    schedule = models.schedule(params.steps)
    trace: list[Step] = []
    with guide(models, content, styles, routing, params, kind) as guidance:
        for index, timestep in enumerate(schedule.timesteps.tolist()):
            latent.requires_grad_()
            shown = [path[-1 - index] for path in paths]
            prediction, *found = guidance.energies(latent, timestep, shown)
            step, loss = checked_step(index, timestep, found, params)
            gradient = torch.autograd.grad(loss, latent)[0]
            latent = schedule.step(prediction.detach().float(), timestep, latent.detach())[0]
            size = gradient.square().mean().sqrt().clamp(min=1e-12)
            noisiness = (1 - schedule.alphas_cumprod[timestep]).sqrt().item()
            latent = latent - params.learning_rate * noisiness * gradient / size
            trace.append(step)
            if on_step is not None:
                on_step(step)
    return latent, tuple(trace)
