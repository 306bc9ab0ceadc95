"""What pulls a latent towards its references: the energies that every sampler descends."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.attention import (
    AttentionRecord,
    LayerRecord,
    grid_size,
    record_attention,
    style_layers,
)
from stylegallery.bank import AttentionBank, Kept, View
from stylegallery.energy import RegionAttention, content_energy, style_energy, style_target
from stylegallery.models import Models
from stylegallery.routing import Correspondence
from stylegallery.types import Job, PreparedImage

Shown = tuple[Tensor, list[list[Kept]]]
"""Latents (B, C, h, w) of the contents, and what the layers see of each job's references."""

Seen = Sequence[tuple[Tensor, ...]]
"""Key and value (1, heads, M, d) of each reference in one layer."""


class Guidance:
    """The style and content energies of a batch of jobs; from :func:`guide`."""

    def __init__(
        self,
        models: Models,
        jobs: list[Job],
        params: StyleParams,
        record: AttentionRecord,
        bank: AttentionBank,
    ) -> None:
        """Use `record`, which must be recording the style layers of the models' UNet."""
        self._models, self._params, self._jobs = models, params, jobs
        self._record, self._bank = record, bank
        self._routers = [Router(j.content, j.styles, j.routing, models.device) for j in jobs]
        self._contents = torch.cat([job.content.latent for job in jobs]).to(models.device)
        self._anchors = anchors(models.timesteps(params.steps, params.schedule), params.anchors)
        self._own: tuple[int, dict[str, LayerRecord]] = (-1, {})

    def energies(
        self, latent: Tensor, timestep: int, shown: Shown | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the UNet predicts for latents, their style and their content energies.

        Args:
            latent: (B, C, h, w) float32 on the models' device, one for each job; gradients flow
                back to it.
            timestep: Training timestep, 0 to 999.
            shown: Latents of the contents, from which the UNet's features are taken at the same
                timestep, and those of every reference. When None they are taken from clean
                latents, as published (METHOD 1.3), which fits a latent that is clean itself, and
                at the nearest of the anchors.

        Returns:
            The prediction (B, C, h, w), and both energies (B,), summed over the layers.
        """
        if shown is None:
            contents, styles = self._clean(timestep)
        else:
            contents, styles = self._content(shown[0], timestep), shown[1]
        prediction, now = self._seen(latent, timestep)
        style_terms, content_terms = [], []
        for index, references in enumerate(styles):
            for name, layers in now.items():
                layer, own = layers.of(index), contents[name].of(index)
                seen = [reference[name] for reference in references]
                style_terms.append(self.style_energy(index, layer, own.output, seen))
                content_terms.append(content_energy(layer.query.float(), own.query.float()))
        energies = torch.stack([torch.stack(style_terms), torch.stack(content_terms)])
        style, content = energies.unflatten(1, (len(styles), -1)).sum(dim=2)
        return prediction, style, content

    def style_energy(self, index: int, layer: LayerRecord, own: Tensor, styles: Seen) -> Tensor:
        """Return one job's style energy () in one layer: what another method reads otherwise.

        Args:
            index: Which job.
            layer: What the layer sees of the latent that is pulled.
            own: (1, heads, N, d) its output for the content.
            styles: Keys and values (1, heads, M, d) of each reference.
        """
        keys, values = zip(*styles, strict=True)
        routing = self._routers[index].at(layer.query.shape[2], [k.shape[2] for k in keys])
        key, value = torch.cat(keys, dim=2), torch.cat(values, dim=2)
        scale = self._params.attention_scale
        target = style_target(layer.query.detach(), key, value, own, routing, scale)
        return style_energy(layer.output.float(), target.float())

    @torch.no_grad()
    def _clean(self, timestep: int) -> tuple[dict[str, LayerRecord], list[list[Kept]]]:
        """What the layers see of the clean contents, and of each job's clean references."""
        anchor = min(self._anchors, key=lambda a: abs(a - timestep)) if self._anchors else timestep
        if self._own[0] != anchor:
            self._own = (anchor, self._seen(self._contents, anchor)[1])
        return self._own[1], [[self._shown(s, anchor) for s in job.styles] for job in self._jobs]

    def _shown(self, style: PreparedImage, timestep: int) -> Kept:
        return self.reference(style, (timestep, 0), lambda: style.latent)

    @torch.no_grad()
    def reference(self, style: PreparedImage, view: View, latent: Callable[[], Tensor]) -> Kept:
        """Return what the layers see of a reference: what is kept of it, or a new look.

        Args:
            style: The reference.
            view: How it is shown.
            latent: Gives the latent (1, C, h, w) that it is shown as; called for a new look.
        """
        kept = self._bank.get(style, view)
        if kept is None:  # alone, so that its numbers do not depend on what it would stand beside
            layers = self._seen(latent().to(self._models.device), view[0])[1]
            kept = {name: (layer.key, layer.value) for name, layer in layers.items()}
            self._bank.put(style, view, kept)
        return kept

    @torch.no_grad()
    def _content(self, latent: Tensor, timestep: int) -> dict[str, LayerRecord]:
        return self._seen(latent, timestep)[1]

    def _seen(self, latent: Tensor, timestep: int) -> tuple[Tensor, dict[str, LayerRecord]]:
        prediction = self._models.denoise(latent, timestep)
        return prediction, dict(self._record.layers)


@contextmanager
def guide(
    models: Models,
    jobs: list[Job],
    params: StyleParams,
    bank: AttentionBank,
    kind: type[Guidance] = Guidance,
) -> Iterator[Guidance]:
    """Record the UNet's style layers inside the block and yield the energies read from them."""
    with record_attention(models.unet, style_layers(models.unet)) as record:
        yield kind(models, jobs, params, record, bank)


def anchors(timesteps: list[int], count: int) -> list[int]:
    """Return `count` of the timesteps at even distances, or none when all are to be exact.

    Features change slowly with the timestep, so few of them serve all steps (METHOD 1.5, S1).
    """
    if not 0 < count < len(timesteps):
        return []
    return [timesteps[(2 * k + 1) * len(timesteps) // (2 * count)] for k in range(count)]


class Router:
    """Query and key indices at every resolution of the UNet, built when first asked for."""

    def __init__(
        self,
        content: PreparedImage,
        styles: list[PreparedImage],
        routing: Correspondence,
        device: torch.device,
    ) -> None:
        self._content, self._styles = content, styles
        self._table, self._counts = routing.log_weights, routing.style_regions
        self._device = device
        self._built: dict[int, RegionAttention] = {}

    def at(self, queries: int, keys: list[int]) -> RegionAttention:
        """Return the groups for a layer with so many queries and so many keys of each style."""
        if queries not in self._built:
            labels, offset = [], 0
            for style, tokens, count in zip(self._styles, keys, self._counts, strict=True):
                labels.append(_labels_at(style, tokens) + offset)
                offset += count
            built = RegionAttention.build(
                self._table, _labels_at(self._content, queries), torch.cat(labels)
            )
            self._built[queries] = built.to(self._device)
        return self._built[queries]


def _labels_at(image: PreparedImage, tokens: int) -> Tensor:
    """Return the region (tokens,) of each token of a layer with so many."""
    latent = (int(image.latent.shape[-2]), int(image.latent.shape[-1]))
    return image.regions.resized(grid_size(tokens, latent)).flatten()
