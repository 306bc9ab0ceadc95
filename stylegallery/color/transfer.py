"""Tone: each region takes the hues of what it is matched with, the whole takes the light."""

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.color.lab import luminance
from stylegallery.images.codec import resize
from stylegallery.matching.correspondence import Correspondence
from stylegallery.types import PreparedImage

_FLOOR = 1e-3  # variance added to every colour axis: flat areas are left flat
_GAIN = (0.5, 1.0)
_SMOOTHING = 3  # latent cells


def match_tone(
    pixels: Tensor,
    content: PreparedImage,
    styles: list[PreparedImage],
    routing: Correspondence,
    lightness: float = 1.0,
) -> Tensor:
    """Move each region's hues to its matches', and the light and shade of all to that of all.

    A region's hues are what it shares with what it is matched to; how light it is beside the
    others is the photo's form, so luminance follows one map for all regions that have a match.

    The linear Monge-Kantorovich map (Pitie and Kokaram, CVMP 2007) moves colours least of all
    maps that do so. Before the optimisation it leaves it with what it is for, texture; after it,
    it takes back what has drifted. It works on pixels: the channels of a latent mix colour with
    detail, and to match those one by one turns hues and prints grids. Colours are drawn together
    but never spread, which would turn the rim of a flat area into a halo, and maps blend over
    region borders.

    Args:
        pixels: (1, 3, H, W) in [0, 1], the content's frame at any size.
        content: Gives the regions.
        styles: The references that `routing` was made for.
        routing: Which regions belong together.
        lightness: How much of the change of luminance is made, 0 to 1.

    Returns:
        (1, 3, H, W) in [0, 1], float32, on the device of `pixels`. Regions without a reference
        stay as they are.
    """
    device, pixels = pixels.device, pixels.cpu()
    grid = (int(content.latent.shape[-2]), int(content.latent.shape[-1]))
    values, source = _colours(styles, routing)
    own = resize(pixels, (4 * grid[0], 4 * grid[1]))[0].flatten(1)
    own_labels = _enlarged(content.regions.labels).flatten()
    unmoved = torch.cat([torch.eye(3).flatten(), torch.zeros(4)])  # matrix, shift, reached
    table = unmoved.repeat(len(routing.log_weights), 1)
    covered, wanted = torch.zeros(own.shape[1]), torch.zeros(len(source))
    for region, row in enumerate(routing.log_weights):
        weights = row[source].exp()
        inside = own_labels == region
        if weights.any() and inside.any():
            matrix, shift = _colour_map(own, _own_shares(inside), values, weights)
            table[region] = torch.cat([matrix.flatten(), shift, torch.ones(1)])
            covered += inside
            wanted += inside.sum() * weights / weights.sum()
    if not covered.any():
        return pixels.to(device)
    cells = torch.einsum("rk,rhw->khw", table, _blend(content.regions.one_hot))
    field = F.interpolate(cells[None], pixels.shape[-2:], mode="bilinear")[0]
    moved = _apply(field[:9].unflatten(0, (3, 3)), field[9:12], pixels[0])
    matrix, shift = _colour_map(own, covered, values, wanted)
    lit = _apply(matrix[..., None, None], shift[:, None, None], pixels[0])
    light = field[12] * lightness * luminance(lit - pixels[0])
    return (moved - luminance(moved - pixels[0]) + light).clamp(0, 1)[None].to(device)


def _colours(styles: list[PreparedImage], routing: Correspondence) -> tuple[Tensor, Tensor]:
    """Return the references' colours (3, M) and the region (M,) of each, in the routing's order."""
    colours, labels, offset = [], [], 0
    for style, count in zip(styles, routing.style_regions, strict=True):
        height, width = style.regions.labels.shape
        small = resize(style.picture.pixels, (4 * height, 4 * width))
        colours.append(small[0].flatten(1))
        labels.append(_enlarged(style.regions.labels).flatten() + offset)
        offset += count
    return torch.cat(colours, dim=1), torch.cat(labels)


def _apply(matrix: Tensor, shift: Tensor, colours: Tensor) -> Tensor:
    """Map colours (3, H, W) by matrices (3, 3, H, W) and shifts (3, H, W), or one for all."""
    return torch.einsum("ijhw,jhw->ihw", matrix.expand(3, 3, *colours.shape[1:]), colours) + shift


def _own_shares(inside: Tensor) -> Tensor:
    """Return how much each cell (N,) counts for the colours that a region is taken to have.

    Half of them are the region's own and half the whole picture's: taken by itself, every region
    would lose what sets it off from the others, such as red cloth on a grey ground.
    """
    return 0.5 * inside.float() / inside.sum() + 0.5 / len(inside)


def _colour_map(
    values: Tensor, shares: Tensor, wanted: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the matrix (3, 3) and shift (3,) that bring colours (3, N) to those wanted (3, M)."""
    mean, covariance = _moments(values, shares)
    goal_mean, goal = _moments(wanted, weights)
    root = _power(covariance, 0.5)
    back = _power(covariance, -0.5)
    matrix = back @ _power(root @ goal @ root, 0.5) @ back
    gains, axes = torch.linalg.eigh(matrix)
    matrix = axes * gains.clamp(*_GAIN) @ axes.T
    return matrix, goal_mean - matrix @ mean


def _moments(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean (3,) and covariance (3, 3) of colours (3, N)."""
    share = weights / weights.sum()
    mean = values @ share
    centred = values - mean[:, None]
    return mean, (centred * share) @ centred.T + _FLOOR * torch.eye(3)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    power: Tensor = vectors * values.clamp(min=1e-8) ** exponent @ vectors.T
    return power


def _enlarged(labels: Tensor) -> Tensor:
    return labels.repeat_interleave(4, 0).repeat_interleave(4, 1)


def _blend(masks: Tensor) -> Tensor:
    """Smooth (R, h, w) masks that sum to one over a few cells; they still do."""
    padded = F.pad(masks[None], (_SMOOTHING // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, _SMOOTHING, stride=1)[0]
