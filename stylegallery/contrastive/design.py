"""The design of a reference: what it shows, without its texture."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.restoration import denoise_tv_chambolle
from skimage.segmentation import slic
from torch import Tensor
from torch.nn import functional as F

from stylegallery.color.lab import rgb_to_lab
from stylegallery.errors import BadReferences
from stylegallery.images.codec import resize, to_short_side
from stylegallery.images.picture import Picture
from stylegallery.metrics.frequency import high_energy

_WEIGHTS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Weights of the smoothing, from weak to strong."""
_CELLS = 400
_FLATTENED = 0.5
_TEXTURE_LEFT = 0.3
_COLOR_CHANGE = 10.0  # CIE76
_AREAS = 8  # a side, whose colors are compared
_FAINTEST = (1 / 255) ** 2
"""Energy of one step of 8 bits; what is fainter is no texture."""


@dataclass(frozen=True, eq=False)
class DesignPair:
    """A picture with texture, and its design.

    Attributes:
        textured: The reference, or a picture with its texture.
        design: The same without texture, of the same size.
    """

    textured: Picture
    design: Picture


def design_pair(reference: Picture, design: Picture | None, side: int, name: str) -> DesignPair:
    """Return a reference with its design, which is made if the user gives none.

    Args:
        reference: The reference.
        design: The user's design of it, of any size of about its aspect; None makes one.
        side: Short side in pixels at which textures are judged: the working size.
        name: Name of the reference in messages.

    Raises:
        BadReferences: the design has the texture of the reference, or other colors.
    """
    if design is None:
        design = make_design(reference, side)
    pair = DesignPair(reference, Picture(resize(design.pixels, reference.size), reference.alpha))
    _check(pair, side, name)
    return pair


def make_design(picture: Picture, side: int) -> Picture:
    """Return a picture without its texture, of its size.

    Edges stay where total variation is minimized (Rudin, Osher and Fatemi 1992, by Chambolle's
    algorithm); half of each SLIC superpixel's variation is removed too. The weakest smoothing that
    removes enough of the texture is taken. Contrastive LoRA (arXiv 2509.18948) draws the design
    with Stable Diffusion 3, two ControlNets and a tagger instead.

    Args:
        picture: The picture; a texture is what is fine at `side`.
        side: Short side in pixels to which larger pictures are reduced before.
    """
    small = to_short_side(picture.pixels, min(side, *picture.size))
    texture = high_energy(small)
    design = small
    for weight in _WEIGHTS:
        design = _smoothed(small, weight)
        if high_energy(design) <= _TEXTURE_LEFT * texture:
            break
    return Picture(resize(design, picture.size), picture.alpha)


def _smoothed(pixels: Tensor, weight: float) -> Tensor:
    image: NDArray[np.float64] = pixels[0].permute(1, 2, 0).double().numpy()
    smooth = denoise_tv_chambolle(image, weight=weight, channel_axis=-1)
    cells = slic(smooth, n_segments=_CELLS, compactness=10, start_label=0)
    counts = np.bincount(cells.ravel())
    means = np.stack([np.bincount(cells.ravel(), c.ravel()) for c in np.moveaxis(smooth, -1, 0)], 1)
    flat = (means / counts[:, None])[cells]
    mixed = torch.from_numpy(_FLATTENED * flat + (1 - _FLATTENED) * smooth)
    return mixed.permute(2, 0, 1)[None].float().clamp(0, 1)


def _check(pair: DesignPair, side: int, name: str) -> None:
    """Refuse a pair whose pictures do not differ in their texture alone.

    Energies are compared, not shares of energy: a swatch of cloth is nothing but texture, so all
    of it is fine in the design too.
    """
    texture, left = (
        high_energy(to_short_side(picture.pixels, min(side, *picture.size)))
        for picture in (pair.textured, pair.design)
    )
    if left > _TEXTURE_LEFT * texture or texture < _FAINTEST:
        raise BadReferences(
            f"no texture of {name} can be told from its design; use a reference with visible "
            "stitches, threads or strokes, or give a flat design of it."
        )
    one, two = (
        rgb_to_lab(F.adaptive_avg_pool2d(picture.pixels, _AREAS))
        for picture in (pair.textured, pair.design)
    )
    if (one - two).norm(dim=1).mean() > _COLOR_CHANGE:
        raise BadReferences(
            f"the design of {name} has other colors than {name} in the same places; give a design "
            "that shows the same picture."
        )
