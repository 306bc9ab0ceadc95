"""Pictures of other things in a learnt style, which tell the style from what a reference shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery.adapters.adapter import Adapter
from stylegallery.contrastive.design import DesignPair, make_design
from stylegallery.contrastive.style_blocks import block_features
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.images.bundled import bundled_photos
from stylegallery.images.codec import open_picture, resize
from stylegallery.images.picture import Picture
from stylegallery.models.diffusion import Models
from stylegallery.models.vae import decode, encode
from stylegallery.sampling.blended import BlendedSampler

_TAKEN = 2


@dataclass(frozen=True, eq=False)
class Candidate:
    """A restyled design.

    Attributes:
        pair: The restyled picture and its design.
        texture: Cosine of the picture's features to the reference's.
        shape: Cosine of the design's features to those of the reference's design.
    """

    pair: DesignPair
    texture: float
    shape: float


def complementary_pairs(
    models: Models, pair: DesignPair, adapter: Adapter, blocks: list[str], size: tuple[int, int]
) -> list[DesignPair]:
    """Return designs of other things, and what the style that was learnt so far makes of them.

    Of six bundled photos, the half whose restyled designs are most like the reference to the
    style blocks is kept, and of these the two whose designs are least like that of the reference
    (selection of contrastive LoRA, arXiv 2509.18948, which generates its pictures by prompts).

    Args:
        models: The diffusion model.
        pair: The reference and its design.
        adapter: The style after the first stage.
        blocks: The style blocks.
        size: Working size (height, width) of the reference in pixels.
    """
    own = [_features(models, one.pixels, blocks, size) for one in (pair.textured, pair.design)]
    sampler = BlendedSampler(models, StyleParams(method="contrastive-lora"), AttentionCache())
    made: list[Candidate] = []
    for path in bundled_photos():
        design = make_design(Picture(center_crop(open_picture(path).pixels, size)), min(size))
        restyled = decode(models, sampler.restyled(encode(models, design.pixels, size), adapter))
        textured = Picture(resize(restyled, size))
        looks = [_features(models, one.pixels, blocks, size) for one in (textured, design)]
        texture, shape = (float(one @ two) for one, two in zip(own, looks, strict=True))
        made.append(Candidate(DesignPair(textured, design), texture, shape))
    return [candidate.pair for candidate in selected(made)]


def selected(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return two: of the half with the most similar texture, those with the least similar design.

    Args:
        candidates: Four or more.
    """
    half = sorted(candidates, key=lambda one: -one.texture)[: len(candidates) // 2]
    return sorted(half, key=lambda one: one.shape)[:_TAKEN]


def _features(models: Models, pixels: Tensor, blocks: list[str], size: tuple[int, int]) -> Tensor:
    return F.normalize(block_features(models, encode(models, pixels, size), blocks), dim=0)


def center_crop(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the largest center crop of the aspect of a size, at that size."""
    scale = min(length / side for length, side in zip(pixels.shape[-2:], size, strict=True))
    height, width = (round(scale * side) for side in size)
    top, left = ((pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2)
    return resize(pixels[..., top : top + height, left : left + width], size)
