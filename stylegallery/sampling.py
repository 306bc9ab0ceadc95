"""Optimise the content latent under the style and content energies."""

from collections.abc import Callable

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.attention import LayerRecord, grid_size, record_attention, style_layers
from stylegallery.energy import RegionAttention, content_energy, style_energy, style_target
from stylegallery.errors import DidNotConverge
from stylegallery.models import Models
from stylegallery.pyramid import PyramidLatent
from stylegallery.routing import Correspondence
from stylegallery.tone import match_tone
from stylegallery.types import PreparedImage, Step

_MOMENTUM = 0.9

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
    """Descend the energies on one latent, one step at each timestep from noisy to clean.

    As in the published code no denoising step is taken: the latent itself is the result. Unlike
    it, the start is the clean latent, as in Attention Distillation (arXiv 2502.20235), in the
    tone of its matches (:mod:`stylegallery.tone`), with a little seeded noise; and the steps
    are sized band by band (:mod:`stylegallery.pyramid`) instead of cell by cell by Adam.

    Returns:
        The latent (1, C, h, w) float32 and the losses of every step.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    clean = content.latent.to(models.device)
    noise = torch.randn(clean.shape, generator=generator).to(models.device)
    references = [style.latent.to(models.device) for style in styles]
    begin = match_tone(clean, content, styles, routing) if params.match_tone else clean
    pyramid = PyramidLatent(begin + params.start_noise * noise, [clean, *references])
    optimiser = torch.optim.SGD(
        pyramid.moves, lr=params.learning_rate, momentum=_MOMENTUM, dampening=_MOMENTUM
    )
    router = _Router(content, styles, routing, models.device)
    scheduler = type(models.scheduler).from_config(models.scheduler.config)
    scheduler.set_timesteps(params.steps)
    trace: list[Step] = []
    with record_attention(models.unet, style_layers(models.unet)) as record:
        for index, timestep in enumerate(scheduler.timesteps.tolist()):
            with torch.no_grad():
                shown = []
                for image in [content, *styles]:
                    models.denoise(image.latent.to(models.device), timestep)
                    shown.append(dict(record.layers))
            models.denoise(pyramid.value(), timestep)
            style, kept = _energies(record.layers, shown[0], shown[1:], router, params)
            loss = style + params.content_weight * kept
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            pyramid.normalise_gradients()
            optimiser.step()
            step = Step(index, params.steps, timestep, loss.item(), style.item(), kept.item())
            if not torch.isfinite(loss):
                raise DidNotConverge(
                    f"the loss is not finite at step {index}; lower learning_rate or use float32."
                )
            trace.append(step)
            if on_step is not None:
                on_step(step)
    result = pyramid.value().detach()
    if params.match_tone:
        result = match_tone(result, content, styles, routing)
    return result, tuple(trace)


def _energies(
    now: dict[str, LayerRecord],
    content: dict[str, LayerRecord],
    styles: list[dict[str, LayerRecord]],
    router: "_Router",
    params: StyleParams,
) -> tuple[Tensor, Tensor]:
    """Return the style and content energies, summed over the layers."""
    style_terms, content_terms = [], []
    for name, layer in now.items():
        key = torch.cat([style[name].key for style in styles], dim=2)
        value = torch.cat([style[name].value for style in styles], dim=2)
        routing = router.at(layer.query.shape[2], [s[name].key.shape[2] for s in styles])
        target = style_target(
            layer.query.detach(), key, value, content[name].output, routing, params.attention_scale
        )
        style_terms.append(style_energy(layer.output.float(), target.float()))
        content_terms.append(content_energy(layer.query.float(), content[name].query.float()))
    return torch.stack(style_terms).sum(), torch.stack(content_terms).sum()


class _Router:
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
    latent = (int(image.latent.shape[-2]), int(image.latent.shape[-1]))
    return image.regions.resized(grid_size(tokens, latent)).flatten()
