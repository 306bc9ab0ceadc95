"""Guidance of a batch: style and content energies between a latent and its images.

Attention distillation (arXiv 2502.20235), with the keys of each query chosen by a routing table.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.guidance.attention_cache import AttentionCache, KeyValues
from stylegallery.guidance.energies import content_energy, style_energy, style_target
from stylegallery.guidance.region_attention import Router, drop_unused
from stylegallery.models.attention import (
    AttentionRecord,
    LayerRecord,
    capture_layers,
    record_attention,
    style_layers,
)
from stylegallery.models.diffusion import Models
from stylegallery.types import PreparedImage, StyleJob

_ALL = slice(None)


class LatentSource(Protocol):
    """Latents of contents and references whose features a latent is compared with.

    Attributes:
        timesteps: The timesteps of the sampler, from noisy to clean.
        inversion_steps: Steps of the inversion that the latents come from; 0 if they are clean.
        rotate_keys: Whether a step uses as many keys as the largest reference has instead of all.
        limit_keys: Whether it uses no more keys than there are queries either.
    """

    timesteps: list[int]
    inversion_steps: int
    rotate_keys: bool
    limit_keys: bool

    def content(self, job: int, timestep: int) -> Tensor:
        """Return the latent (1, C, h, w) of a job's content at a timestep."""
        ...

    def style(self, image: PreparedImage, timestep: int) -> Tensor:
        """Return the latent (1, C, h, w) of a reference at a timestep."""
        ...


class CleanLatents:
    """The clean latents at every timestep, as in attention distillation."""

    inversion_steps, rotate_keys, limit_keys = 0, False, False

    def __init__(self, jobs: list[StyleJob], timesteps: list[int]) -> None:
        self._jobs, self.timesteps = jobs, timesteps

    def content(self, job: int, timestep: int) -> Tensor:
        """Return the clean latent (1, C, h, w) of a job's content."""
        return self._jobs[job].content.latent

    def style(self, image: PreparedImage, timestep: int) -> Tensor:
        """Return the clean latent (1, C, h, w) of a reference."""
        return image.latent


@dataclass(frozen=True, eq=False)
class LayerTargets:
    """Features that the latent of one job is compared with.

    Attributes:
        router: Says which queries attend to which keys.
        content: Layer name to the content's features.
        styles: Keys and values of each reference that is used.
    """

    router: Router
    content: dict[str, LayerRecord]
    styles: list[KeyValues]


@dataclass(frozen=True, eq=False)
class GuidanceStep:
    """One timestep, and the targets of each job at it."""

    timestep: int
    targets: list[LayerTargets]


class Guidance:
    """The style and content energies of a batch of jobs; made by :meth:`recording`.

    All features that are compared follow `prompt`, so that text by itself is no difference. With
    guidance, those of the latent are of the rows that follow the prompt.
    """

    def __init__(
        self,
        models: Models,
        jobs: list[StyleJob],
        params: StyleParams,
        cache: AttentionCache,
        source: LatentSource,
        record: AttentionRecord,
    ) -> None:
        """Use `record`, which must be recording the style layers of the models' UNet."""
        self.params = params
        self._models, self._cache, self._source, self._record = models, cache, source, record
        self._told = models.condition(params.prompts)
        self._routed = [self.route(job) for job in jobs]
        unrouted = [replace(job, routing=job.routing.unrouted()) for job in jobs]
        self._unrouted = [self.route(job) for job in unrouted]
        routed_steps = round(params.regional_attention.routing_share * len(source.timesteps))
        self._routed_timesteps = source.timesteps[:routed_steps]
        self._anchors = anchor_timesteps(source.timesteps, params.attention.anchors)
        self._contents: tuple[int, list[dict[str, LayerRecord]]] = (-1, [])

    @classmethod
    @contextmanager
    def recording(
        cls,
        models: Models,
        jobs: list[StyleJob],
        params: StyleParams,
        cache: AttentionCache,
        source: LatentSource | None = None,
    ) -> Iterator[Self]:
        """Record the UNet's style layers inside the block and yield their energies.

        Without `source`, clean latents are used, at the timesteps of the parameters' schedule.
        """
        if source is None:
            source = CleanLatents(jobs, models.timesteps(params.steps, params.optimise.schedule))
        with record_attention(models.unet, style_layers(models.unet)) as record:
            yield cls(models, jobs, params, cache, source, record)

    def route(self, job: StyleJob) -> Router:
        """Return the router of a job; a method with other masks overrides this."""
        return Router(drop_unused(job), self._models.device)

    def energies(self, latent: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
        """Return the style and content energies (B,) of the jobs' latents, summed over layers.

        The UNet call ends after the last style layer.

        Args:
            latent: (B, C, h, w) float32 on the models' device, one latent per job; gradients
                flow back to it.
            timestep: Training timestep, 0 to 999.
        """
        step = self._step(timestep)
        return self._compare(self._capture(latent, timestep), step)

    def predict(
        self, latent: Tensor, timestep: int, jobs: slice = _ALL
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the UNet's prediction (B, C, h, w) and the energies as :meth:`energies` does.

        `jobs` says which of the jobs the latents belong to.
        """
        step = self._step(timestep)
        step = replace(step, targets=step.targets[jobs])
        prediction = self._models.denoise(latent, timestep, self._told)
        return prediction, *self._compare(dict(self._record.layers), step)

    def style_energy(
        self, step: GuidanceStep, targets: LayerTargets, name: str, layer: LayerRecord
    ) -> Tensor:
        """Return one job's style energy () in one layer; a method with another one overrides this.

        Args:
            step: The current step.
            targets: The job's targets.
            name: Name of the layer.
            layer: The layer's features for the latent, (1, heads, N, d) each.
        """
        keys, values = zip(*(style[name] for style in targets.styles), strict=True)
        routing = targets.router.at(layer.query.shape[2], [k.shape[2] for k in keys])
        key, value = torch.cat(keys, dim=2), torch.cat(values, dim=2)
        if self._source.rotate_keys:
            index = self._source.timesteps.index(step.timestep)
            most = max(k.shape[2] for k in keys)
            if self._source.limit_keys:
                most = min(most, layer.query.shape[2])
            routing = routing.rotated(index, key.shape[2], most)
        own, scale = targets.content[name].output, self.params.attention.attention_scale
        target = style_target(layer.query.detach(), key, value, own, routing, scale)
        return style_energy(layer.output.float(), target.float())

    def _step(self, timestep: int) -> GuidanceStep:
        """Return the targets at a timestep, from the features at the nearest anchor.

        Layout forms at high noise; after that, routing is opened so that regions may use the
        strokes of the whole reference.
        """
        routers = self._routed if timestep in self._routed_timesteps else self._unrouted
        anchor = nearest_anchor(self._anchors, timestep)
        contents = self._content_features(anchor)
        targets = [
            LayerTargets(
                router, content, [self._style_features(s, anchor) for s in router.job.styles]
            )
            for router, content in zip(routers, contents, strict=True)
        ]
        return GuidanceStep(timestep, targets)

    def _compare(self, layers: dict[str, LayerRecord], step: GuidanceStep) -> tuple[Tensor, Tensor]:
        style_terms, content_terms = [], []
        for index, targets in enumerate(step.targets):
            for name, batch in layers.items():
                layer = batch.item(index)
                style_terms.append(self.style_energy(step, targets, name, layer))
                own = targets.content[name].query
                content_terms.append(content_energy(layer.query.float(), own.float()))
        energies = torch.stack([torch.stack(style_terms), torch.stack(content_terms)])
        style, content = energies.unflatten(1, (len(step.targets), -1)).sum(dim=2)
        return style, content

    @torch.no_grad()
    def _content_features(self, anchor: int) -> list[dict[str, LayerRecord]]:
        """Return the features of each job's content; steps of one anchor share them."""
        if self._contents[0] != anchor:
            jobs = range(len(self._routed))
            latent = torch.cat([self._source.content(job, anchor) for job in jobs])
            layers = self._capture(latent.to(self._models.device), anchor)
            features = [{name: layer.item(job) for name, layer in layers.items()} for job in jobs]
            self._contents = (anchor, features)
        return self._contents[1]

    @torch.no_grad()
    def _style_features(self, style: PreparedImage, anchor: int) -> KeyValues:
        """Return a reference's keys and values, cached over all jobs."""
        key = (anchor, self._source.inversion_steps, self.params.prompts.prompt)
        features = self._cache.get(style, key)
        if features is None:  # one image per call: batch size changes rounding
            latent = self._source.style(style, anchor).to(self._models.device)
            layers = self._capture(latent, anchor)
            features = {name: (layer.key, layer.value) for name, layer in layers.items()}
            self._cache.put(style, key, features)
        return features

    def _capture(self, latent: Tensor, timestep: int) -> dict[str, LayerRecord]:
        told = self._told.unguided
        return capture_layers(self._record, lambda: self._models.denoise(latent, timestep, told))


def anchor_timesteps(timesteps: list[int], count: int) -> list[int]:
    """Return `count` evenly spaced timesteps, or none if all timesteps are to be exact.

    Features change slowly with the timestep, so a few anchors serve all steps.
    """
    if not 0 < count < len(timesteps):
        return []
    return [timesteps[(2 * k + 1) * len(timesteps) // (2 * count)] for k in range(count)]


def nearest_anchor(anchors: list[int], timestep: int) -> int:
    """Return the nearest anchor, of two the less noisy one; without anchors the timestep."""
    return min(anchors or [timestep], key=lambda anchor: (abs(anchor - timestep), anchor))
