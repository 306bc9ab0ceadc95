"""Fine texture: the last octaves of a result, taken patch by patch from the matched references.

A latent diffusion model loses what is finer than its autoencoder keeps: the weave of a canvas, the
hairs of a brush, the edge of a stroke. After decoding, each small patch of the result finds the
most similar patch of the reference regions that its region is matched with, and takes the fine
detail of that patch. This is an image analogy (Hertzmann et al., SIGGRAPH 2001) with our routing in
place of the search over the whole reference, in single octaves as in Neural Neighbor Style Transfer
(arXiv 2203.13215), but on pixels.
"""

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.color.lab import luminance
from stylegallery.images.codec import resize, to_short_side
from stylegallery.regions.region_map import RegionMap
from stylegallery.types import PreparedImage, StyleJob

_SIGMA = 1.6
"""Standard deviation in pixels of the blur that separates coarse from fine."""
_SIDE, _STRIDE = 5, 2
"""Side of a patch, and distance of the result's patches, in pixels."""
_OWN = 0.5
"""Weight in the search of the fine texture that the result already has."""
_FALL = 1.25
"""Standard deviation in pixels of a patch's weight. A wider one means more patches at a pixel, and
their mean is blurred."""
_KEYS = 1536
"""Patches of the references that a region chooses from. With 12,000 it measured the same."""
_GAIN = (0.5, 2.5)
"""Least and greatest gain that gives overlapping patches the contrast of the references again."""
_AT_ONCE = 2**14
"""Patches that are compared at a time; this bounds memory."""


def transfer_texture(
    pixels: Tensor, job: StyleJob, size: tuple[int, int], share: float, stroke_size: float
) -> Tensor:
    """Enlarge a result to the size of its photo, with fine texture of the references.

    Each octave from the working size up to the photo's size gets its fine texture in turn. A photo
    that is much smaller than the working size lacks none: its result is only reduced. Time and
    memory are linear in the number of pixels.

    Args:
        pixels: (1, 3, h, w) result in [0, 1] at working size.
        job: The job that was restyled. Regions without a reference are only enlarged.
        size: (H, W) of the photo.
        share: From 0, the texture that the result has, to 1, that of the references.
        stroke_size: Size of strokes as a multiple of their size in the references relative to the
            picture. References are not enlarged.

    Returns:
        (1, 3, H, W) in [0, 1], on the device of `pixels`.
    """
    octaves = round(math.log2(min(size) / min(pixels.shape[-2:])))  # working sizes are rounded
    if share == 0 or octaves < 0:
        return resize(pixels, size)
    device, pixels = pixels.device, pixels.to(job.content.latent.device)
    for octave in range(octaves, -1, -1):
        height, width = (max(2 * _SIDE, round(side / 2**octave)) for side in size)
        side = round(stroke_size * min(height, width))
        pixels = _with_texture(resize(pixels, (height, width)), job, share, side)
    return resize(pixels, size).to(device)


@dataclass(frozen=True, eq=False)
class _Layers:
    """A picture with its fine layer apart, and its regions.

    Attributes:
        coarse: (3, H, W), blurred.
        fine: (3, H, W), what the blur removes.
        searched: (2, H, W), what patches are compared by: luminance of both, the fine one weighted.
        labels: (H, W) int64 region of each pixel.
    """

    coarse: Tensor
    fine: Tensor
    searched: Tensor
    labels: Tensor

    @classmethod
    def of(cls, pixels: Tensor, regions: RegionMap) -> "_Layers":
        """Split a picture (1, 3, H, W)."""
        coarse = _blurred(pixels)[0]
        fine = pixels[0] - coarse
        searched = torch.stack([luminance(coarse), _OWN * luminance(fine)])
        labels = regions.resized(_size(pixels))
        return cls(coarse, fine, searched, labels.to(pixels.device))


@dataclass(frozen=True, eq=False)
class _Patches:
    """Patches of the references.

    Attributes:
        keys: (K, 50) what they are found by.
        fine: (K, 3, 25) their fine layer.
    """

    keys: Tensor
    fine: Tensor

    @property
    def contrast(self) -> Tensor:
        """Root mean square of the fine luminance."""
        return luminance(self.fine.transpose(0, 1)).square().mean().sqrt()


def _with_texture(pixels: Tensor, job: StyleJob, share: float, reference_side: int) -> Tensor:
    """Return a picture (1, 3, H, W) with the fine texture of references of a short side."""
    picture = _Layers.of(pixels, job.content.regions)
    references = [_beside(style, reference_side, pixels.device) for style in job.styles]
    grid = picture.labels[::_STRIDE, ::_STRIDE]
    best, found = torch.full_like(grid, -1), list[Tensor]()
    wanted = torch.zeros(job.content.regions.count)
    for region, row in enumerate(job.routing.log_weights):
        places = (grid == region).nonzero()
        patches = _drawn(references, job.routing.style_regions, row.exp())
        if patches is None or not len(places):
            continue
        nearest = _nearest(picture.searched, _STRIDE * places, patches.keys)
        best[places[:, 0], places[:, 1]] = nearest + sum(map(len, found))
        found.append(patches.fine)
        wanted[region] = patches.contrast
    if not found:
        return pixels
    made = _overlapped(best, torch.cat(found), picture.fine)
    made = made - _blurred(made[None])[0]  # patches of one kind add up to a coarse change
    field = job.content.regions.field(_gains(made, picture.labels, wanted), _size(pixels))
    fine = torch.lerp(
        picture.fine, field[:1].to(made.device) * made, share * field[1:].to(made.device)
    )
    return (picture.coarse + fine).clamp(0, 1)[None]


def _beside(style: PreparedImage, short_side: int, device: torch.device) -> _Layers:
    pixels = style.picture.pixels
    side = max(2 * _SIDE, min(short_side, *pixels.shape[-2:]))
    return _Layers.of(to_short_side(pixels, side).to(device), style.regions)


def _drawn(
    references: list[_Layers], style_regions: tuple[int, ...], weights: Tensor
) -> _Patches | None:
    """Draw patches by the weight (S,) of the region that they lie in; None if all are 0."""
    parts = zip(references, weights.split(list(style_regions)), strict=True)
    chances = [own[one.labels.cpu()].double().flatten() for one, own in parts]
    ends = torch.cat(chances).cumsum(0)
    if not ends[-1]:
        return None
    at = torch.rand(_KEYS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    places = torch.searchsorted(ends, at.sort().values * ends[-1], right=True)
    keys, fine = list[Tensor](), list[Tensor]()
    for one, chance in zip(references, chances, strict=True):
        mine = places[(places >= 0) & (places < len(chance))]
        places = places - len(chance)
        width = one.labels.shape[1]
        centers = torch.stack([mine // width, mine % width], 1).to(one.fine.device)
        keys.append(_key(_cut(one.searched, centers)))
        fine.append(_cut(one.fine, centers))
    return _Patches(torch.cat(keys), torch.cat(fine))


def _nearest(searched: Tensor, centers: Tensor, keys: Tensor) -> Tensor:
    """Return the key (N,) that is nearest to the patch around each center (N, 2)."""
    squares = keys.square().sum(1) / 2
    parts = [
        (_key(_cut(searched, some)) @ keys.T - squares).argmax(1)
        for some in centers.split(_AT_ONCE)
    ]
    return torch.cat(parts)


def _key(patches: Tensor) -> Tensor:
    """Return vectors (N, 50) of patches (N, 2, 25): how light a patch is does not matter."""
    coarse, fine = patches[:, 0], patches[:, 1]
    return torch.cat([coarse - coarse.mean(1, keepdim=True), fine], 1)


def _cut(layers: Tensor, centers: Tensor) -> Tensor:
    """Return the patches (N, C, 25) of layers (C, H, W) around centers (N, 2)."""
    reach = _SIDE // 2
    padded = F.pad(layers[None], (reach,) * 4, mode="reflect")[0]
    steps = torch.arange(_SIDE, device=layers.device)
    rows, columns = centers[:, 0, None, None] + steps[:, None], centers[:, 1, None, None] + steps
    return padded[:, rows, columns].flatten(2).transpose(0, 1)


def _overlapped(best: Tensor, fine: Tensor, like: Tensor) -> Tensor:
    """Return the weighted mean (3, H, W) of overlapping patches; `like` where there is none.

    Args:
        best: (h, w) index of the patch around every second pixel, or -1 for none.
        fine: (K, 3, 25) patches.
        like: (3, H, W).
    """
    reach, (height, width) = _SIDE // 2, like.shape[-2:]
    total = like.new_zeros(4, height + 2 * _SIDE, width + 2 * _SIDE)
    known = (best >= 0).to(like.dtype)
    for number, (down, across) in enumerate(product(range(_SIDE), repeat=2)):
        away = (down - reach) ** 2 + (across - reach) ** 2
        weight = math.exp(-away / (2 * _FALL**2)) * known
        rows = slice(down, down + _STRIDE * best.shape[0], _STRIDE)
        columns = slice(across, across + _STRIDE * best.shape[1], _STRIDE)
        values = fine[:, :, number].T[:, best.clamp(min=0)]
        total[:, rows, columns] += torch.cat([weight * values, weight[None]])
    total = total[:, reach : reach + height, reach : reach + width]
    return torch.where(total[3:] > 0, total[:3] / total[3:].clamp(min=1e-12), like)


def _gains(made: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """Return by region (R, 2) the gain that gives the wanted contrast (R,), and 1 if it has one."""
    energy = luminance(made).square()
    contrast = [energy[labels == region].mean().sqrt().cpu() for region in range(len(wanted))]
    gains = wanted / torch.stack(contrast).clamp(min=1e-6)
    return torch.stack([gains.clamp(*_GAIN), (wanted > 0).float()], 1)


def _blurred(pixels: Tensor) -> Tensor:
    """Blur (1, C, H, W) by a Gaussian."""
    reach = math.ceil(3 * _SIGMA)
    steps = torch.arange(-reach, reach + 1, device=pixels.device)
    kernel = torch.exp(-steps.square() / (2 * _SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(pixels.shape[1], 1, 1, -1)
    padded = F.pad(pixels, (reach,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel, groups=pixels.shape[1])
    return F.conv2d(rows, kernel.transpose(2, 3), groups=pixels.shape[1])


def _size(pixels: Tensor) -> tuple[int, int]:
    return int(pixels.shape[-2]), int(pixels.shape[-1])
