"""Optimise the content latent under the style and content energies."""

from collections.abc import Sequence

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.color.transfer import transfer_color
from stylegallery.guidance.attention_cache import AttentionBank
from stylegallery.guidance.guidance import Guidance, guide
from stylegallery.guidance.loss_trace import OnStep, Trace
from stylegallery.models.diffusion import Models
from stylegallery.models.vae import encode
from stylegallery.sampling.bands import limit_moves
from stylegallery.types import Job, Step

Restyled = tuple[Tensor, list[tuple[Step, ...]]]
"""Latents (B, C, h, w) float32, and the losses of every step of each."""


def optimise(
    models: Models,
    jobs: list[Job],
    params: StyleParams,
    bank: AttentionBank,
    on_step: OnStep | None = None,
    kind: type[Guidance] = Guidance,
) -> Restyled:
    """Descend the energies from the contents' clean latents, as Attention Distillation does.

    Beyond that method (arXiv 2502.20235, eq. 5 and 6) the start has the tone of its matches
    (:mod:`stylegallery.color.transfer`) and a little seeded noise, and at the end what no picture
    has is taken out (:mod:`stylegallery.sampling.bands` and :func:`settle`). With all of that
    turned off and one region a side the two are the same.

    Args:
        models: The diffusion model.
        jobs: Contents of one latent size, with their references, routings and seeds.
        params: Steps, learning rate and weights.
        bank: Keeps what the references look like.
        on_step: Called after every step.
        kind: The energies to descend.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    start = torch.cat([_start(models, job, params) for job in jobs])
    latent, traces = descend(models, start, jobs, params, bank, on_step, kind)
    if params.settle_timestep:
        ends = zip(start.split(1), latent.split(1), jobs, strict=True)
        latent = torch.cat([_limited(*one) for one in ends])
        latent = settle(models, latent, params.settle_timestep)
    return latent, traces


def _limited(start: Tensor, latent: Tensor, job: Job) -> Tensor:
    natural = [image.latent.to(start.device) for image in [job.content, *job.styles]]
    return limit_moves(start, latent, natural)


def _start(models: Models, job: Job, params: StyleParams) -> Tensor:
    """The content's latent (1, C, h, w), toned and with noise, on the models' device."""
    start = toned(models, job, params)
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(job.seed))
    return start + params.start_noise * noise.to(models.device)


def toned(models: Models, job: Job, params: StyleParams) -> Tensor:
    """Return the latent (1, C, h, w) of the content in its matches' tone, if asked for."""
    latent = job.content.latent
    if params.match_tone:
        images = (job.content, job.styles, job.routing)
        pixels = transfer_color(job.content.picture.pixels, *images, params.tone_lightness)
        height, width = (models.vae_factor * int(side) for side in latent.shape[-2:])
        latent = encode(models, pixels, (height, width))
    return latent.to(models.device)


def descend(
    models: Models,
    start: Tensor,
    jobs: list[Job],
    params: StyleParams,
    bank: AttentionBank,
    on_step: OnStep | None,
    kind: type[Guidance] = Guidance,
) -> Restyled:
    """Descend the energies by Adam, `repeats` steps at each timestep from noisy to clean.

    No denoising step is taken: the latent itself is the result (METHOD 1.3). Items of a batch
    share every UNet call; Adam and the energies keep them apart. One whose loss is flat
    (`flat_loss`) stays as it is from then on and takes no part in further calls.

    Args:
        models: The diffusion model.
        start: (B, C, h, w) float32 latents on the models' device; they stay as they are.
        jobs: As for :func:`optimise`.
        params: Steps, learning rate and weights.
        bank: Keeps what the references look like.
        on_step: Called after every step.
        kind: The energies to descend.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    latents = [part.clone().requires_grad_() for part in start.split(1)]
    optimiser = torch.optim.Adam(latents, lr=params.learning_rate)
    visited = [
        t for t in models.timesteps(params.steps, params.schedule) for _ in range(params.repeats)
    ]
    trace = Trace(params, on_step, len(visited))
    moving: Sequence[int] = range(len(jobs))
    with guide(models, jobs, params, bank, kind) as guidance:
        for timestep in visited:
            if not moving:
                break
            latent = torch.cat([latents[item] for item in moving])
            style, content = guidance.energies(latent, timestep, moving)
            optimiser.zero_grad(set_to_none=True)  # Adam leaves alone what has no gradient
            trace.loss(timestep, style, content, moving).backward()
            optimiser.step()
            trace.stepped()
            moving = trace.going_on()
    return torch.cat(latents).detach(), trace.steps()


@torch.no_grad()
def settle(models: Models, latent: Tensor, timestep: int) -> Tensor:
    """Return the pictures that the UNet sees in latents (B, C, h, w) behind a little noise.

    Gradients leave in a latent what no encoder writes, and decoders print it as speckle and
    weave. The latent is taken as clean plus noise of `timestep`, and that noise, as the UNet
    predicts it, is taken out in one step.
    """
    schedule = models.schedule(models.scheduler.config.num_train_timesteps)
    noisy = latent * schedule.alphas_cumprod[timestep].sqrt().to(latent.device)
    prediction = models.denoise(noisy, timestep).float()
    clean: Tensor = schedule.step(prediction, timestep, noisy).pred_original_sample
    return clean
