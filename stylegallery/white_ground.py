"""The pure white ground of a packshot, which is no part of the picture."""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, label
from torch import Tensor
from torch.nn import functional as F

from stylegallery.types import PreparedImage

_WHITE = 0.985
"""Least value of all channels; JPEG stores white with small errors."""
_LEAST_BORDER = 0.6
"""Least share of the picture's border that is white; products may reach over the rest."""
_RIM = 0.006
"""Width of the soft edge in the ground, as a share of the shorter side."""


def white_ground(image: PreparedImage) -> Tensor | None:
    """Return how far each pixel belongs to a pure white ground, or None if there is none.

    The ground is what is white, connected to the border, and in regions that mostly lie there:
    a white product on white is no ground.

    Args:
        image: The photo with its regions.

    Returns:
        (1, 1, H, W) in [0, 1], 0 at the outline of the product and rising away from it.
    """
    size = image.picture.size
    white = (image.picture.pixels[0].min(dim=0).values >= _WHITE).numpy()
    border = np.concatenate([white[0], white[-1], white[:, 0], white[:, -1]])
    if border.mean() < _LEAST_BORDER:
        return None
    parts, _ = label(white)
    outer = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    outside = (image.descriptors.contact >= 1)[image.regions.labels].float()
    # A cell of grace: regions are drawn on the coarse grid of the latent.
    near = F.max_pool2d(outside[None, None], 3, stride=1, padding=1)
    inside = F.interpolate(near, size, mode="nearest")[0, 0].bool().numpy()
    ground = np.isin(parts, outer[outer > 0]) & inside
    if not ground.any():
        return None
    width = max(1.0, _RIM * min(size))
    ramp = distance_transform_edt(np.pad(ground, 1, mode="edge"))[1:-1, 1:-1] / width
    share: Tensor = torch.from_numpy(ramp).float().clamp(max=1)[None, None]
    return share
