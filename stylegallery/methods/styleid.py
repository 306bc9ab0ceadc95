"""The method `styleid`: denoise the content with the references' keys and values (METHOD 3.2).

StyleID (arXiv 2312.09008) optimises nothing. Each image is inverted once, what its self-attentions
saw on the way is kept, and sampling plays it back: the content's queries hold the structure, the
references' keys and values bring the style.
"""

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.guidance.attention_cache import AttentionCache, Kept
from stylegallery.guidance.energies import style_target
from stylegallery.guidance.loss_trace import OnStep
from stylegallery.guidance.region_attention import Router
from stylegallery.matching.correspondence import Correspondence
from stylegallery.models.attention import (
    AttentionRecord,
    attend,
    record_attention,
    style_layers,
)
from stylegallery.models.diffusion import Models
from stylegallery.models.inversion import inversion
from stylegallery.sampling.optimise import Restyled
from stylegallery.types import PreparedImage, Step, StyleJob


def adain(
    latent: Tensor,
    references: list[Tensor],
    content: PreparedImage,
    styles: list[PreparedImage],
    routing: Correspondence,
) -> Tensor:
    """Give each region of a latent mean and deviation of what it is routed to.

    StyleID does so with the whole inverted latent (METHOD 3.2); with one region this is the same.

    Args:
        latent: (1, C, h, w), the content as noisy as the references.
        references: Noisy latent (1, C, h', w') of each of `styles`, on the device of `latent`.
        content: Gives the regions.
        styles: Give the regions of the references.
        routing: How much of which style region goes into which content region.

    Returns:
        (1, C, h, w). Regions without a reference stay as they are.
    """
    values = torch.cat([reference[0].flatten(1) for reference in references], dim=1)
    labels, offset = [], 0
    for style, count in zip(styles, routing.style_regions, strict=True):
        labels.append(style.regions.labels.flatten() + offset)
        offset += count
    shares = routing.log_weights[:, torch.cat(labels)].exp().to(latent.device)
    result = latent.clone()
    for region, weights in enumerate(shares):
        if not weights.any():
            continue
        cells = (content.regions.labels == region).to(latent.device)
        inside = latent[0][:, cells]
        own_mean, own = (
            inside.mean(dim=1, keepdim=True),
            inside.std(dim=1, keepdim=True, correction=0),
        )
        mean, deviation = _moments(values, weights / weights.sum())
        result[0][:, cells] = (inside - own_mean) / own.clamp(min=1e-4) * deviation + mean
    return result


def _moments(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and deviation, (C, 1) each, of values (C, N)."""
    mean = (values @ weights)[:, None]
    return mean, ((values - mean).square() @ weights)[:, None].sqrt()


@torch.no_grad()
def sample(
    models: Models,
    jobs: list[StyleJob],
    params: StyleParams,
    bank: AttentionCache,
    on_step: OnStep | None = None,
) -> Restyled:
    """Denoise the inverted contents in the references' statistics, keys and values.

    Several references, which StyleID does not know, stand side by side: their keys and values are
    concatenated, with the logarithm of a reference's weight on its logits, and the start takes
    the statistics of all their cells, weighted alike. As published, the first step stays as it
    is. Jobs are taken one after the other, as what is kept of each is large: at 512 px on SD 1.5,
    50 steps and half precision, 0.6 GB for the photo and 1.2 GB for each reference.

    Args:
        models: The diffusion model.
        jobs: Contents of one latent size; routings are those of
            :func:`stylegallery.matching.matching.match_whole`. Nothing is random: seeds are not
            used.
        params: `steps`, `query_preservation` (gamma) and `attention_scale` (tau) are used.
        bank: Not used.
        on_step: Called after every step, with losses of 0.

    Returns:
        The latents (B, C, h, w) float32, and empty traces, as no energy is measured.
    """
    return torch.cat([_denoised(models, job, params, on_step) for job in jobs]), [() for _ in jobs]


def _denoised(models: Models, job: StyleJob, params: StyleParams, on_step: OnStep | None) -> Tensor:
    schedule = models.schedule(params.steps)
    router = Router(job, models.device)
    with record_attention(models.unet, style_layers(models.unet)) as record:
        start, queries = _inverted(models, job.content, params.steps, record, ("query",))
        kept = [_inverted(models, s, params.steps, record, ("key", "value")) for s in job.styles]
        noisy = [latent for latent, _ in kept]
        latent = adain(start, noisy, job.content, job.styles, job.routing)
        for index, timestep in enumerate(schedule.timesteps.tolist()):
            if index > 0:
                back = -1 - index  # the inversion ran from clean to noisy
                seen = [features[back] for _, features in kept]
                record.attend = _Injection(queries[back], seen, router, params)
            prediction = models.denoise(latent, timestep).float()
            latent = schedule.step(prediction, timestep, latent).prev_sample
            if on_step is not None:
                on_step(Step(index, params.steps, timestep, 0.0, 0.0, 0.0))
    return latent


class _Injection:
    """Attention with the content's queries mixed in, on the references' keys and values."""

    def __init__(
        self, queries: Kept, styles: list[Kept], router: Router, params: StyleParams
    ) -> None:
        self._queries, self._styles, self._router = queries, styles, router
        self._gamma, self._tau = params.query_preservation, params.attention_scale

    def __call__(self, name: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        (held,) = self._queries[name]
        mixed = self._gamma * held + (1 - self._gamma) * query
        keys, values = zip(*(style[name] for style in self._styles), strict=True)
        routing = self._router.at(query.shape[2], [k.shape[2] for k in keys])
        own = attend(query, key, value)  # for what has no reference
        return style_target(
            mixed, torch.cat(keys, dim=2), torch.cat(values, dim=2), own, routing, self._tau
        )


def _inverted(
    models: Models,
    image: PreparedImage,
    steps: int,
    record: AttentionRecord,
    wanted: tuple[str, ...],
) -> tuple[Tensor, list[Kept]]:
    """Return the image's noisy latent, and what each layer saw at each step, clean to noisy."""
    features: list[Kept] = []
    noisy = image.latent.to(models.device)
    for _, there in inversion(models, noisy, steps):
        noisy = there
        features.append(
            {name: tuple(getattr(r, part) for part in wanted) for name, r in record.layers.items()}
        )
    return noisy, features
