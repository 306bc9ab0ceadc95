"""Adaptive instance normalisation of noisy latents (Huang and Belongie, arXiv 1703.06868)."""

import torch
from torch import Tensor

from stylegallery.matching.correspondence import Correspondence
from stylegallery.types import PreparedImage


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
