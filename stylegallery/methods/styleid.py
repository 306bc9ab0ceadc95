"""The method `styleid`: StyleID (CVPR 2024, arXiv 2312.09008).

Nothing is optimized. Each image is inverted once, and the features of its self-attentions are
kept. Sampling denoises the content with its own queries, which hold the structure, and the
references' keys and values, which carry the style.
"""

from typing import ClassVar

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.guidance.energies import style_target
from stylegallery.guidance.region_attention import Router
from stylegallery.matching.correspondence import Correspondence
from stylegallery.methods.base import Samplers, WholeImageMethod
from stylegallery.models.attention import AttentionRecord, attend, record_attention, style_layers
from stylegallery.models.inversion import ddim_inversion
from stylegallery.sampling.base import LatentSampler
from stylegallery.types import PreparedImage, RestyledLatent, Step, StyleJob

_LayerFeatures = dict[str, tuple[Tensor, ...]]
"""Layer name to the features that are kept of it, (1, heads, N, d) each."""


def adain(
    latent: Tensor,
    references: list[Tensor],
    content: PreparedImage,
    styles: list[PreparedImage],
    routing: Correspondence,
) -> Tensor:
    """Give each region of a latent the channel means and deviations of its style regions.

    Adaptive instance normalization (arXiv 1703.06868). StyleID applies it to the whole inverted
    latent; with one region this is the same.

    Args:
        latent: (1, C, h, w), the content at the noise of the references.
        references: Noisy latent (1, C, h', w') of each of `styles`, on the device of `latent`.
        content: Gives the regions.
        styles: Give the regions of the references.
        routing: Weights of the style regions for each content region.

    Returns:
        (1, C, h, w). Regions without a reference are unchanged.
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
        own = latent[0][:, cells]
        own_mean = own.mean(dim=1, keepdim=True)
        own_deviation = own.std(dim=1, keepdim=True, correction=0)
        mean, deviation = _weighted_statistics(values, weights / weights.sum())
        result[0][:, cells] = (own - own_mean) / own_deviation.clamp(min=1e-4) * deviation + mean
    return result


def _weighted_statistics(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted mean and standard deviation, (C, 1) each, of values (C, N)."""
    mean = (values @ weights)[:, None]
    return mean, ((values - mean).square() @ weights)[:, None].sqrt()


class InjectionSampler(LatentSampler):
    """Denoises the inverted contents with the references' keys and values.

    Uses `steps`, `query_preservation` (gamma of the paper) and `attention_scale` (tau). As in
    the authors' code, nothing is injected in the first step. Nothing is random, so seeds have no
    effect, and traces are empty because there is no energy.

    The paper takes one reference. Of several, the keys and values are concatenated, with the
    logarithm of a reference's weight on its logits, and the start takes the statistics of all
    their cells. Images are inverted without text; sampling follows the prompts.

    Jobs run one after the other because the kept features are large: at 512 px on SD 1.5 with 50
    steps in half precision, 0.6 GB for the content and 1.2 GB for each reference.
    """

    @torch.no_grad()
    def sample(self, jobs: list[StyleJob]) -> list[RestyledLatent]:
        """Denoise each job's content."""
        return [RestyledLatent(job, self._denoise(job), ()) for job in jobs]

    def _denoise(self, job: StyleJob) -> Tensor:
        models, params = self.models, self.params
        schedule = models.schedule(params.steps)
        router = Router(job, models.device)
        told = models.condition(params.prompts)
        with record_attention(models.unet, style_layers(models.unet)) as record:
            start, queries = self._invert(job.content, record, ("query",))
            inverted = [self._invert(style, record, ("key", "value")) for style in job.styles]
            noisy = [latent for latent, _ in inverted]
            latent = adain(start, noisy, job.content, job.styles, job.routing)
            for index, timestep in enumerate(schedule.timesteps.tolist()):
                if index > 0:
                    place = -1 - index  # inversion runs from clean to noisy
                    styles = [features[place] for _, features in inverted]
                    record.attend = _Injection(queries[place], styles, router, params)
                prediction = models.denoise(latent, timestep, told).float()
                latent = schedule.step(prediction, timestep, latent).prev_sample
                if self.on_step is not None:
                    self.on_step(Step(index, params.steps, timestep, 0.0, 0.0, 0.0))
        return latent

    def _invert(
        self, image: PreparedImage, record: AttentionRecord, parts: tuple[str, ...]
    ) -> tuple[Tensor, list[_LayerFeatures]]:
        """Return an image's noisy latent, and its layers' features at each step, clean to noisy."""
        features: list[_LayerFeatures] = []
        noisy = image.latent.to(self.models.device)
        for _, latent in ddim_inversion(self.models, noisy, self.params.steps):
            noisy = latent
            layers = record.layers.items()
            features.append({name: tuple(getattr(r, p) for p in parts) for name, r in layers})
        return noisy, features


class _Injection:
    """Attention of mixed queries to the references' keys and values (arXiv 2312.09008, sec. 3)."""

    def __init__(
        self,
        queries: _LayerFeatures,
        styles: list[_LayerFeatures],
        router: Router,
        params: StyleParams,
    ) -> None:
        self._queries, self._styles, self._router = queries, styles, router
        attention = params.attention
        self._gamma, self._tau = attention.query_preservation, attention.attention_scale

    def __call__(self, name: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        (content_query,) = self._queries[name]
        mixed = self._gamma * content_query + (1 - self._gamma) * query
        rows = len(query)  # with guidance two, which share keys and values
        keys, values = zip(*(style[name] for style in self._styles), strict=True)
        routing = self._router.at(query.shape[2], [k.shape[2] for k in keys])
        own = attend(query, key, value)  # output of regions without a reference
        return style_target(
            mixed,
            torch.cat(keys, dim=2).expand(rows, -1, -1, -1),
            torch.cat(values, dim=2).expand(rows, -1, -1, -1),
            own,
            routing,
            self._tau,
        )


class StyleID(WholeImageMethod):
    """Attention injection; the sampler `optimise` is the method's own sampling."""

    samplers: ClassVar[Samplers] = {"optimise": InjectionSampler}
