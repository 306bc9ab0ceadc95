"""What pulls a latent towards its references: the energies that every sampler descends."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.guidance.attention_cache import AttentionCache, Kept
from stylegallery.guidance.energies import content_energy, style_energy, style_target
from stylegallery.guidance.region_attention import Router, won
from stylegallery.models.attention import (
    AttentionRecord,
    LayerRecord,
    look,
    record_attention,
    style_layers,
)
from stylegallery.models.diffusion import Models
from stylegallery.types import PreparedImage, StyleJob

Seen = Sequence[tuple[Tensor, ...]]
"""Key and value (1, heads, M, d) of each reference in one layer."""

Known = tuple[int, dict[str, LayerRecord], list[Kept]]
"""A job's number, and what the layers see of its content and of its references."""


class Shown(Protocol):
    """How contents and references are shown to the UNet, to see what a latent is to become.

    Attributes:
        timesteps: Those that the sampler visits, from noisy to clean.
        steps: Of the schedule that the images are inverted by; 0 where they are shown clean.
        in_turns: Whether a step sees as many keys as the largest reference has, not all of them.
    """

    timesteps: list[int]
    steps: int
    in_turns: bool

    def content(self, index: int, timestep: int) -> Tensor:
        """Return the latent (1, C, h, w) that a job's content is shown as at a timestep."""
        ...

    def style(self, image: PreparedImage, timestep: int) -> Tensor:
        """Return the latent (1, C, h, w) that a reference is shown as at a timestep."""
        ...


class Clean:
    """Images as they are, at all timesteps, as published (METHOD 1.3)."""

    steps, in_turns = 0, False

    def __init__(self, jobs: list[StyleJob], timesteps: list[int]) -> None:
        self._jobs, self.timesteps = jobs, timesteps

    def content(self, index: int, timestep: int) -> Tensor:
        """Return the content's own latent (1, C, h, w)."""
        return self._jobs[index].content.latent

    def style(self, image: PreparedImage, timestep: int) -> Tensor:
        """Return the reference's own latent (1, C, h, w)."""
        return image.latent


class Guidance:
    """The style and content energies of a batch of jobs; from :func:`guide`."""

    def __init__(
        self,
        models: Models,
        jobs: list[StyleJob],
        params: StyleParams,
        record: AttentionRecord,
        bank: AttentionCache,
        shown: Shown,
    ) -> None:
        """Use `record`, which must be recording the style layers of the models' UNet."""
        self.params = params
        self._timestep = -1
        self.routers = self._led = [self.route(job, models.device) for job in jobs]
        opened = [replace(job, routing=job.routing.opened()) for job in jobs]
        self._opened = [self.route(job, models.device) for job in opened]
        self._leading = shown.timesteps[: round(params.routing_share * len(shown.timesteps))]
        self._models, self._record, self._bank, self._shown = models, record, bank, shown
        self._anchors = anchors(shown.timesteps, params.anchors)
        self._contents: tuple[int, dict[int, dict[str, LayerRecord]]] = (-1, {})

    def route(self, job: StyleJob, device: torch.device) -> Router:
        """Return what says which of a job's queries see which keys."""
        return Router(won(job), device)

    def energies(
        self, latent: Tensor, timestep: int, items: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the style and the content energies of latents.

        Contents and references are looked at as they are shown at the nearest of the anchors,
        contents once for all steps that share it, references once for all items.

        Args:
            latent: (B, C, h, w) float32 on the models' device; gradients flow back to it.
            timestep: Training timestep, 0 to 999.
            items: The B jobs that the latents belong to, by number; all of them when None.

        Returns:
            Both energies (B,), summed over the layers.
        """
        known = self._known(timestep, range(len(self.routers)) if items is None else items)
        return self._compared(self._seen(latent, timestep), known)

    def predicted(self, latent: Tensor, timestep: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the UNet predicts for the latents of all jobs, and their energies.

        It goes through the whole UNet, where :meth:`energies` alone needs only a part.

        Args:
            latent: (B, C, h, w) float32, one of each job, on the models' device.
            timestep: Training timestep, 0 to 999.

        Returns:
            The prediction (B, C, h, w), and the style and content energies (B,).
        """
        known = self._known(timestep, range(len(self.routers)))
        prediction = self._models.denoise(latent, timestep)
        return prediction, *self._compared(dict(self._record.layers), known)

    def _known(self, timestep: int, items: Sequence[int]) -> list[Known]:
        """What the layers see of the images that stay as they are, for each item.

        Where things go is settled while there is noise. From then on a region whose matches still
        led would miss the strokes of the rest of the reference.
        """
        self.routers = self._led if timestep in self._leading else self._opened
        self._timestep = timestep
        anchor = nearest(self._anchors, timestep)
        contents = self._own(anchor, items)
        return [
            (i, contents[i], [self._reference(s, anchor) for s in self.routers[i].job.styles])
            for i in items
        ]

    def _compared(self, now: dict[str, LayerRecord], known: list[Known]) -> tuple[Tensor, Tensor]:
        style_terms, content_terms = [], []
        for place, (index, content, styles) in enumerate(known):
            for name, layers in now.items():
                layer, own = layers.of(place), content[name]
                seen = [reference[name] for reference in styles]
                style_terms.append(self.style_energy(index, layer, own.output, seen))
                content_terms.append(content_energy(layer.query.float(), own.query.float()))
        energies = torch.stack([torch.stack(style_terms), torch.stack(content_terms)])
        style, kept = energies.unflatten(1, (len(known), -1)).sum(dim=2)
        return style, kept

    def style_energy(self, index: int, layer: LayerRecord, own: Tensor, styles: Seen) -> Tensor:
        """Return one job's style energy () in one layer: what another method reads otherwise.

        Args:
            index: Which job.
            layer: What the layer sees of the latent that is pulled.
            own: (1, heads, N, d) its output for the content.
            styles: Keys and values (1, heads, M, d) of each reference that has won a region.
        """
        keys, values = zip(*styles, strict=True)
        routing = self.routers[index].at(layer.query.shape[2], [k.shape[2] for k in keys])
        key, value = torch.cat(keys, dim=2), torch.cat(values, dim=2)
        if self._shown.in_turns:
            step, most = self._shown.timesteps.index(self._timestep), max(k.shape[2] for k in keys)
            routing = routing.in_turn(step, key.shape[2], most)
        scale = self.params.attention_scale
        target = style_target(layer.query.detach(), key, value, own, routing, scale)
        return style_energy(layer.output.float(), target.float())

    @torch.no_grad()
    def _own(self, anchor: int, items: Sequence[int]) -> dict[int, dict[str, LayerRecord]]:
        """What the layers see of the contents, by job."""
        if self._contents[0] != anchor:
            shown = torch.cat([self._shown.content(i, anchor) for i in items])
            layers = self._seen(shown.to(self._models.device), anchor)
            of = {i: {n: at.of(k) for n, at in layers.items()} for k, i in enumerate(items)}
            self._contents = (anchor, of)
        return self._contents[1]

    @torch.no_grad()
    def _reference(self, style: PreparedImage, anchor: int) -> Kept:
        """What the layers see of a reference: what is kept of it, or a new look."""
        view = (anchor, self._shown.steps)
        kept = self._bank.get(style, view)
        if kept is None:  # alone, so that its numbers do not depend on what it would stand beside
            latent = self._shown.style(style, anchor).to(self._models.device)
            layers = self._seen(latent, anchor)
            kept = {name: (layer.key, layer.value) for name, layer in layers.items()}
            self._bank.put(style, view, kept)
        return kept

    def _seen(self, latent: Tensor, timestep: int) -> dict[str, LayerRecord]:
        return look(self._record, lambda: self._models.denoise(latent, timestep))


@contextmanager
def guide(
    models: Models,
    jobs: list[StyleJob],
    params: StyleParams,
    bank: AttentionCache,
    kind: type[Guidance] = Guidance,
    shown: Shown | None = None,
) -> Iterator[Guidance]:
    """Record the UNet's style layers inside the block and yield the energies read from them.

    Without `shown` images are shown clean, at the timesteps of the parameters' schedule.
    """
    if shown is None:
        shown = Clean(jobs, models.timesteps(params.steps, params.schedule))
    with record_attention(models.unet, style_layers(models.unet)) as record:
        yield kind(models, jobs, params, record, bank, shown)


def anchors(timesteps: list[int], count: int) -> list[int]:
    """Return `count` of the timesteps at even distances, or none when all are to be exact.

    Features change slowly with the timestep, so few of them serve all steps (METHOD 1.5, S1).
    """
    if not 0 < count < len(timesteps):
        return []
    return [timesteps[(2 * k + 1) * len(timesteps) // (2 * count)] for k in range(count)]


def nearest(anchors: list[int], timestep: int) -> int:
    """Return the anchor that is nearest; of two the less noisy one, or of none the timestep."""
    return min(anchors or [timestep], key=lambda anchor: (abs(anchor - timestep), anchor))
