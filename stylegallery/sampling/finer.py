"""From a restyled latent to one of a finer size: the sampler `guided` on tiles."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.color.transfer import transfer_color
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.guidance.guidance import Guidance
from stylegallery.guidance.loss_trace import LossTrace, OnStep
from stylegallery.images.codec import resize
from stylegallery.models import vae
from stylegallery.models.diffusion import Models
from stylegallery.regions.region_map import RegionMap
from stylegallery.sampling.base import seeded_noise
from stylegallery.sampling.guided import GuidedSampler, InvertedLatents
from stylegallery.sampling.sizes import analysis_size, sampling_sizes
from stylegallery.sampling.tiles import TileGrid
from stylegallery.types import PreparedImage, RestyledLatent, Step, StyleJob

_NEXT = 0.75
"""Strength of each finer size as a share of that of the size before."""
_AT_ONCE = 4
"""Tiles that share a UNet call with gradients; more need more memory and are no faster."""


def sample_finer(
    models: Models,
    params: StyleParams,
    cache: AttentionCache,
    coarse: RestyledLatent,
    short_side: int,
    on_step: OnStep | None = None,
    level: int = 0,
) -> RestyledLatent:
    """Sample a restyled picture again at a finer size.

    The coarse result is decoded and enlarged, and gets the photo's own detail of the new scale in
    its matches' colors: without it the photo's lines would be lost. This picture is inverted to
    a low noise level and sampled from there, guided by the references at the new scale.

    Args:
        models: The diffusion model.
        params: Parameters of the sampler; `fine_steps` and `fine_strength` are used here.
        cache: Keys and values of references.
        coarse: The result at a coarser size.
        short_side: Short side in pixels of the new size.
        on_step: Called after every step, if given.
        level: How many finer sizes came before. Each adds less: its noise is lower.

    Returns:
        The latent (1, C, h, w) at the new size, and all steps so far.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    job = coarse.job
    size = vae.working_size(job.content.picture.size, short_side, models.vae_factor)
    latent = vae.encode(models, finer_start(models, params, coarse, size), size)
    styles = _references(models, params, cache, job, short_side)
    fine = params.model_copy(
        update={
            "steps": params.sizes.fine_steps,
            "strength": params.sizes.fine_strength * _NEXT**level,
            "routing_share": 0.0,  # the layout is settled; it measured the same with routing
        }
    )
    grid = TileGrid(int(latent.shape[-2]), int(latent.shape[-1]))
    sampler = _TileSampler(models, fine, cache, on_step)
    made, steps = sampler.sample_tiles(latent, replace(job, styles=styles), grid)
    return RestyledLatent(job, made, (*coarse.trace, *steps))


def finer_start(
    models: Models, params: StyleParams, coarse: RestyledLatent, size: tuple[int, int]
) -> Tensor:
    """Return the picture (1, 3, *size) in [0, 1] that a finer size starts from."""
    job = coarse.job
    images = (job.content, job.styles, job.routing, params.tones.tone_lightness)
    pixels, photo = vae.decode(models, coarse.latent), job.content.picture.pixels
    if params.tones.match_tone:
        pixels, photo = transfer_color(pixels, *images), transfer_color(photo, *images)
    before = (int(pixels.shape[-2]), int(pixels.shape[-1]))
    detail = resize(photo, size) - resize(resize(photo, before), size)
    return (resize(pixels, size) + detail).clamp(0, 1)


def at_sampling_size(
    job: StyleJob, params: StyleParams, models: Models, cache: AttentionCache
) -> StyleJob:
    """Return a job with its images at the first size at which it is sampled."""
    short = sampling_sizes(params, models, job.content.picture.size)[0]
    if short == analysis_size(params, models):
        return job
    content = at_size(models, job.content, short)
    return replace(job, content=content, styles=_references(models, params, cache, job, short))


def _references(
    models: Models, params: StyleParams, cache: AttentionCache, job: StyleJob, short_side: int
) -> list[PreparedImage]:
    """Return the references of a job beside a picture of a size."""
    side = round(short_side * params.sizes.stroke_size)
    return [
        cache.resized(style, side, partial(at_size, models, style, side)) for style in job.styles
    ]


def at_size(models: Models, image: PreparedImage, short_side: int) -> PreparedImage:
    """Return a prepared image at another working size, with the same regions.

    It is not enlarged beyond the size at which it was prepared: pixels that an image does not have
    teach blur.
    """
    prepared = models.vae_factor * min(image.latent.shape[-2:])
    side = min(short_side, max(prepared, min(image.picture.size)))
    size = vae.working_size(image.picture.size, side, models.vae_factor)
    latent = vae.encode(models, image.picture.pixels, size)
    labels = image.regions.resized((int(latent.shape[-2]), int(latent.shape[-1])))
    return replace(image, latent=latent, regions=RegionMap(labels))


class _TileSampler(GuidedSampler):
    """Samples the tiles of one picture, which stay equal where they overlap."""

    def sample_tiles(
        self, clean: Tensor, job: StyleJob, grid: TileGrid
    ) -> tuple[Tensor, tuple[Step, ...]]:
        """Invert a latent (1, C, h, w) and sample from there; see :class:`GuidedSampler`.

        Returns:
            The latent (1, C, h, w), and its steps with the mean losses of all tiles.

        Raises:
            DidNotConverge: a loss is not finite.
        """
        self._grid = grid
        regions = RegionMap(job.content.regions.resized((grid.height, grid.width)))
        tiles = grid.split(clean)
        jobs = [
            replace(job, content=replace(job.content, latent=tile, regions=regions.cropped(*place)))
            for tile, place in zip(tiles.split(1), grid.places, strict=True)
        ]
        noise = grid.split(seeded_noise(job, clean.shape, clean.device))
        latents, traces = self.descend(tiles, noise, jobs)
        return grid.join(latents), tuple(_mean(steps) for steps in zip(*traces, strict=True))

    def inverted(self, clean: Tensor, timesteps: list[int]) -> InvertedLatents:
        """Return the inversion of the tiles (T, C, h', w')."""
        return InvertedLatents(self.models, clean, timesteps, self.params.steps, self._grid)

    def predict(
        self, guidance: Guidance, latent: Tensor, timestep: int, trace: LossTrace
    ) -> tuple[Tensor, Tensor]:
        """Return prediction and gradient (T, C, h', w') of the tiles, a few of them at a time."""
        parts = []
        for first in range(0, len(latent), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            tiles = latent[some].detach().requires_grad_()
            prediction, style, content = guidance.predict(tiles, timestep, some)
            loss = style + self.params.content_weight * content
            gradient = torch.autograd.grad(loss.sum(), tiles)[0]
            parts.append((prediction.detach().float(), gradient, style.detach(), content.detach()))
        prediction, gradient, style, content = (
            torch.cat(part) for part in zip(*parts, strict=True)
        )
        trace.loss(timestep, style, content)
        return prediction, gradient

    def agree(self, latents: Tensor) -> Tensor:
        """Make the tiles (T, C, h', w') equal where they overlap."""
        return self._grid.agreed(latents)

    def mean_square(self, gradient: Tensor) -> Tensor:
        """Return the mean square (1, 1, 1, 1) of the whole picture's gradient."""
        return gradient.square().mean().reshape(1, 1, 1, 1)


def _mean(steps: tuple[Step, ...]) -> Step:
    """Return one step with the mean losses of all tiles."""
    losses = ("loss", "style_loss", "content_loss")
    means = {name: sum(getattr(step, name) for step in steps) / len(steps) for name in losses}
    return replace(steps[0], **means)
