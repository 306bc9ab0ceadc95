"""What pulls a latent towards its references: the energies that every sampler descends."""

from collections.abc import Iterator, Sequence
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
from stylegallery.energy import RegionAttention, content_energy, style_energy, style_target
from stylegallery.errors import DidNotConverge
from stylegallery.models import Models
from stylegallery.routing import Correspondence
from stylegallery.types import PreparedImage, Step


class Guidance:
    """The style and content energies of one content image, routed; from :func:`guide`."""

    def __init__(
        self,
        models: Models,
        content: PreparedImage,
        styles: list[PreparedImage],
        routing: Correspondence,
        params: StyleParams,
        record: AttentionRecord,
    ) -> None:
        """Use `record`, which must be recording the style layers of the models' UNet."""
        self._models, self._params, self._record = models, params, record
        self._clean = [image.latent.to(models.device) for image in [content, *styles]]
        self._router = Router(content, styles, routing, models.device)

    def energies(
        self, latent: Tensor, timestep: int, shown: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the UNet predicts for a latent, its style energy and its content energy.

        Args:
            latent: (1, C, h, w) float32 on the models' device; gradients flow back to it.
            timestep: Training timestep, 0 to 999.
            shown: Latents of the content and of every reference, (1, C, h, w) each, from which
                the UNet's features are taken at the same timestep. When None their clean ones, as
                published (METHOD 1.3), which fits a latent that is clean itself.

        Returns:
            The prediction (1, C, h, w), and both energies (), summed over the layers.
        """
        with torch.no_grad():
            content, *styles = [self._seen(one, timestep)[1] for one in shown or self._clean]
        prediction, now = self._seen(latent, timestep)
        style_terms, content_terms = [], []
        for name, layer in now.items():
            references = [style[name] for style in styles]
            style_terms.append(self.style_energy(layer, content[name], references))
            content_terms.append(content_energy(layer.query.float(), content[name].query.float()))
        return prediction, torch.stack(style_terms).sum(), torch.stack(content_terms).sum()

    def _seen(self, latent: Tensor, timestep: int) -> tuple[Tensor, dict[str, LayerRecord]]:
        prediction = self._models.denoise(latent, timestep)
        return prediction, dict(self._record.layers)

    def style_energy(
        self, layer: LayerRecord, content: LayerRecord, styles: list[LayerRecord]
    ) -> Tensor:
        """Return one layer's style energy (): what another method reads otherwise.

        Args:
            layer: What the layer sees of the latent that is pulled.
            content: What it sees of the content.
            styles: What it sees of each reference.
        """
        key = torch.cat([style.key for style in styles], dim=2)
        value = torch.cat([style.value for style in styles], dim=2)
        routing = self._router.at(layer.query.shape[2], [s.key.shape[2] for s in styles])
        scale = self._params.attention_scale
        target = style_target(layer.query.detach(), key, value, content.output, routing, scale)
        return style_energy(layer.output.float(), target.float())


@contextmanager
def guide(
    models: Models,
    content: PreparedImage,
    styles: list[PreparedImage],
    routing: Correspondence,
    params: StyleParams,
    kind: type[Guidance] = Guidance,
) -> Iterator[Guidance]:
    """Record the UNet's style layers inside the block and yield the energies read from them."""
    with record_attention(models.unet, style_layers(models.unet)) as record:
        yield kind(models, content, styles, routing, params, record)


def checked_step(
    index: int, timestep: int, energies: Sequence[Tensor], params: StyleParams
) -> tuple[Step, Tensor]:
    """Weigh the style and content energies () into one loss () and note them as step `index`.

    Raises:
        DidNotConverge: the loss is not finite.
    """
    style, content = energies
    loss = style + params.content_weight * content
    if not torch.isfinite(loss):
        raise DidNotConverge(
            f"the loss is not finite at step {index}; lower learning_rate or use float32."
        )
    step = Step(index, params.steps, timestep, loss.item(), style.item(), content.item())
    return step, loss


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
