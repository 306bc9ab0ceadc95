"""Color transfer: hues region by region, luminance over the whole picture."""

import torch
from torch import Tensor

from stylegallery.color.lab import luminance
from stylegallery.images.codec import resize
from stylegallery.matching.correspondence import Correspondence
from stylegallery.types import PreparedImage

_FLOOR = 1e-3  # variance added to every color axis, so that flat areas stay flat
_GAIN = (0.5, 1.0)


def transfer_color(
    pixels: Tensor,
    content: PreparedImage,
    styles: list[PreparedImage],
    routing: Correspondence,
    lightness: float = 1.0,
) -> Tensor:
    """Transfer the references' hues region by region, and their luminance over the whole picture.

    Colors are mapped by the linear Monge-Kantorovich map (Pitie and Kokaram, "The linear
    Monge-Kantorovitch linear colour mapping for example-based colour transfer", CVMP 2007), the
    smallest change that gives the wanted mean and covariance. Hues have one map per region.
    Luminance has one map for all matched regions, because how light a region is beside the others
    belongs to the photo's structure.

    Before optimization this leaves only texture to learn; afterwards it removes color drift. It
    works on pixels, because latent channels mix color with detail: matching them one by one shifts
    hues and prints grids. Maps reduce the variance of colors but never increase it, which would
    turn the rim of a flat area into a halo. They blend across region borders.

    Args:
        pixels: (1, 3, H, W) in [0, 1], the content or a result, at any size.
        content: The content image; its regions are used.
        styles: The references of `routing`, in the same order.
        routing: Routing weights of content regions and reference regions.
        lightness: Strength of the luminance change, 0 to 1.

    Returns:
        (1, 3, H, W) float32 in [0, 1], on the device of `pixels`. Regions without a reference are
        unchanged.
    """
    device, pixels = pixels.device, pixels.cpu()
    grid = (int(content.latent.shape[-2]), int(content.latent.shape[-1]))
    values, source = _colors(styles, routing)
    own = resize(pixels, (4 * grid[0], 4 * grid[1]))[0].flatten(1)
    own_labels = _enlarged(content.regions.labels).flatten()
    unmoved = torch.cat([torch.eye(3).flatten(), torch.zeros(4)])  # matrix, shift, reached
    table = unmoved.repeat(len(routing.log_weights), 1)
    covered, wanted = torch.zeros(own.shape[1]), torch.zeros(len(source))
    for region, row in enumerate(routing.log_weights):
        weights = row[source].exp()
        inside = own_labels == region
        if weights.any() and inside.any():
            matrix, shift = _color_map(own, _own_shares(inside), values, weights)
            table[region] = torch.cat([matrix.flatten(), shift, torch.ones(1)])
            covered += inside
            wanted += inside.sum() * weights / weights.sum()
    if not covered.any():
        return pixels.to(device)
    field = content.regions.field(table, (int(pixels.shape[-2]), int(pixels.shape[-1])))
    moved = _apply(field[:9].unflatten(0, (3, 3)), field[9:12], pixels[0])
    matrix, shift = _color_map(own, covered, values, wanted)
    lit = _apply(matrix[..., None, None], shift[:, None, None], pixels[0])
    light = field[12] * lightness * luminance(lit - pixels[0])
    return (moved - luminance(moved - pixels[0]) + light).clamp(0, 1)[None].to(device)


def _colors(styles: list[PreparedImage], routing: Correspondence) -> tuple[Tensor, Tensor]:
    """Return the references' colors (3, M) and their regions (M,), numbered as in the routing."""
    colors, labels, offset = [], [], 0
    for style, count in zip(styles, routing.style_regions, strict=True):
        height, width = style.regions.labels.shape
        small = resize(style.picture.pixels, (4 * height, 4 * width))
        colors.append(small[0].flatten(1))
        labels.append(_enlarged(style.regions.labels).flatten() + offset)
        offset += count
    return torch.cat(colors, dim=1), torch.cat(labels)


def _apply(matrix: Tensor, shift: Tensor, colors: Tensor) -> Tensor:
    """Map colors (3, H, W) by matrices (3, 3, H, W) and shifts (3, H, W), or by one for all."""
    return torch.einsum("ijhw,jhw->ihw", matrix.expand(3, 3, *colors.shape[1:]), colors) + shift


def _own_shares(inside: Tensor) -> Tensor:
    """Return the weight (N,) of each cell for a region's color statistics.

    Half of the weight lies on the region and half on the whole picture. With its own statistics
    alone, a region would lose its contrast with the others, such as red cloth on gray ground.
    """
    return 0.5 * inside.float() / inside.sum() + 0.5 / len(inside)


def _color_map(
    values: Tensor, shares: Tensor, wanted: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return matrix (3, 3) and shift (3,) of the map from colors (3, N) to wanted ones (3, M)."""
    mean, covariance = _moments(values, shares)
    goal_mean, goal = _moments(wanted, weights)
    root = _power(covariance, 0.5)
    back = _power(covariance, -0.5)
    matrix = back @ _power(root @ goal @ root, 0.5) @ back
    gains, axes = torch.linalg.eigh(matrix)
    matrix = axes * gains.clamp(*_GAIN) @ axes.T
    return matrix, goal_mean - matrix @ mean


def _moments(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted mean (3,) and covariance (3, 3) of colors (3, N)."""
    share = weights / weights.sum()
    mean = values @ share
    centered = values - mean[:, None]
    return mean, (centered * share) @ centered.T + _FLOOR * torch.eye(3)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    power: Tensor = vectors * values.clamp(min=1e-8) ** exponent @ vectors.T
    return power


def _enlarged(labels: Tensor) -> Tensor:
    return labels.repeat_interleave(4, 0).repeat_interleave(4, 1)
