"""Tone and contrast: each region of a latent takes the statistics of its matches."""

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.routing import Correspondence
from stylegallery.types import PreparedImage

_GAIN = (0.5, 2.0)
_SMOOTHING = 5


def match_tone(
    latent: Tensor, content: PreparedImage, styles: list[PreparedImage], routing: Correspondence
) -> Tensor:
    """Give each region of a latent mean and deviation of the reference regions it is routed to.

    Adaptive instance normalisation (Huang and Belongie, arXiv 1703.06868), which StyleID applies
    to the whole inverted latent, here region by region. Before the optimisation it leaves it with
    what it is for, texture; after it, it takes back what has drifted: blown highlights, and a
    mean in channels that have none, which would show as a grid. Gains are limited, so that flat
    areas do not become noise, and blend over region borders.

    Args:
        latent: (1, C, h, w) on the content's grid.
        content: Gives the regions.
        styles: The references that `routing` was made for.
        routing: Which regions belong together.

    Returns:
        (1, C, h, w) float32. Regions without a reference stay as they are.
    """
    device, latent = latent.device, latent.cpu()
    values = torch.cat([s.latent.cpu()[0].flatten(1) for s in styles], dim=1)
    labels, offset = [], 0
    for style, count in zip(styles, routing.style_regions, strict=True):
        labels.append(style.regions.labels.flatten() + offset)
        offset += count
    source = torch.cat(labels)
    gain, shift = torch.ones_like(latent), torch.zeros_like(latent)
    for region, row in enumerate(routing.log_weights):
        weights = row[source].exp()
        if not weights.any():
            continue
        cells = content.regions.labels == region
        mean, deviation = _moments(values, weights / weights.sum())
        inside = latent[0][:, cells]
        own_mean, own = _moments(inside, torch.full((inside.shape[1],), 1 / inside.shape[1]))
        factor = (deviation / own.clamp(min=1e-4)).clamp(*_GAIN)
        gain[0][:, cells] = factor[:, None]
        shift[0][:, cells] = (mean - own_mean * factor)[:, None]
    return (latent * _blend(gain) + _blend(shift)).to(device)


def _moments(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and deviation (C,) of values (C, N)."""
    mean = values @ weights
    return mean, (values.square() @ weights - mean.square()).clamp(min=0).sqrt()


def _blend(field: Tensor) -> Tensor:
    """Smooth a (1, C, h, w) field over a few cells."""
    padded = F.pad(field, (_SMOOTHING // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, _SMOOTHING, stride=1)
