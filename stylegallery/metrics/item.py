"""All figures of one result: against its original, its references, and region by region."""

from dataclasses import dataclass

import torch
from torch import Tensor

from schemas.evaluation import Borrowed
from stylegallery.images.codec import to_short_side
from stylegallery.metrics.content import (
    edge_agreement,
    luminance_ms_ssim,
    luminance_ssim,
    protected_difference,
    protected_ssim,
    structure_distance,
)
from stylegallery.metrics.external import Lpips, StyleDescriptors
from stylegallery.metrics.sets import block_vectors
from stylegallery.metrics.style import (
    StyleFeatures,
    colour_distance,
    gram_distance,
    patch_distance,
    style_features,
)
from stylegallery.models.lite0 import load_lite0
from stylegallery.models.semantic import Lite0Encoder

SHORT_SIDE = 320
"""Pixels to which pictures are brought before they are compared, so that textures have one scale;
protected pixels alone are compared as they are."""

STYLE_DISTANCES = {
    "gram_distance": gram_distance,
    "patch_distance": patch_distance,
    "colour_distance": colour_distance,
}


@dataclass(frozen=True)
class Look:
    """A reference as it is compared: made once, used for many results.

    Attributes:
        features: At the scale of comparison.
        weight: Of the reference in its gallery.
        style: (1, D) contrastive style descriptor, where its network was given.
    """

    features: StyleFeatures
    weight: float = 1.0
    style: Tensor | None = None


@dataclass(frozen=True)
class RegionPair:
    """A region of the content and the one that it took its style from.

    Attributes:
        mask: (h, w) bool, the region of the content, at any size.
        style: Index of the reference.
        style_mask: (h, w) bool, the region of that reference, at any size.
        area: Share of the picture that the region covers, 0 to 1.
    """

    mask: Tensor
    style: int
    style_mask: Tensor
    area: float


@dataclass(frozen=True)
class Judgement:
    """What is measured of one result.

    Attributes:
        figures: By name, those of the whole picture; the names are fields of
            :class:`schemas.evaluation.ItemFigures`, where each is described.
        regions: For each pair, the style distances by name.
    """

    figures: dict[str, float]
    regions: list[dict[str, float]]


def at_scale(pixels: Tensor) -> Tensor:
    """Bring pixels (1, 3, H, W) to the scale of comparison."""
    return to_short_side(pixels, SHORT_SIDE)


class Judge:
    """Holds the networks that the figures are made with."""

    def __init__(self, borrowed: Borrowed | None = None) -> None:
        """Load EfficientNet-Lite0, once for texture and once for meaning, and what is borrowed.

        Args:
            borrowed: Files of further networks.

        Raises:
            ModelNotFound: one of them is not there, or not what it should be.
        """
        self._net = load_lite0("cpu")
        self._encode = Lite0Encoder(torch.device("cpu"))
        self._lpips = Lpips(borrowed.lpips) if borrowed and borrowed.lpips else None
        self._csd = StyleDescriptors(borrowed.csd) if borrowed and borrowed.csd else None

    def look(self, pixels: Tensor, weight: float = 1.0) -> Look:
        """Look at a reference.

        Args:
            pixels: (1, 3, H, W) in [0, 1].
            weight: Of the reference in its gallery, above 0.
        """
        style = self._csd.describe(pixels) if self._csd else None
        return Look(style_features(self._net, at_scale(pixels)), weight, style)

    def vectors(self, pixels: Tensor) -> Tensor:
        """Return a picture's (16, 192) vectors for the Frechet distance of sets.

        Args:
            pixels: (1, 3, H, W) in [0, 1].
        """
        return block_vectors(self._net, at_scale(pixels))

    def judge(
        self,
        result: Tensor,
        original: Tensor,
        styles: list[Look],
        pairs: list[RegionPair],
        protection: Tensor | None = None,
    ) -> Judgement:
        """Measure one result.

        Args:
            result: (1, 3, H, W) in [0, 1].
            original: The same shape.
            styles: The gallery's references, at least one.
            pairs: Which region took its style from where.
            protection: (1, 1, H, W) in [0, 1], 1 where pixels must stay.
        """
        after, before = at_scale(result), at_scale(original)
        features = style_features(self._net, after)
        plain = style_features(self._net, before)
        figures: dict[str, float | None] = {
            "ssim": luminance_ssim(after, before),
            "ms_ssim": luminance_ms_ssim(after, before),
            "edge_agreement": edge_agreement(after, before),
            "structure_distance": structure_distance(self._encode(after), self._encode(before)),
        }
        if protection is not None:
            figures["protected_ssim"] = protected_ssim(result, original, protection)
            figures["protected_difference"] = protected_difference(result, original, protection)
        if self._lpips:
            figures["lpips"] = self._lpips(after, before)
        if self._csd:
            figures["csd"] = _closeness(self._csd.describe(result), styles)
        figures |= _to_references(features, styles)
        untouched = _to_references(plain, styles)["gram_distance"]
        figures["gram_ratio"] = _ratio(figures["gram_distance"], untouched)
        regions = [_to_region(features, styles, pair) for pair in pairs]
        if pairs:
            areas = [pair.area for pair in pairs]
            figures |= {f"regional_{k}": v for k, v in _by_area(regions, areas).items()}
            former = [
                gram_distance(plain, styles[p.style].features, p.mask, p.style_mask) for p in pairs
            ]
            untouched = sum(a * d for a, d in zip(areas, former, strict=True)) / sum(areas)
            figures["regional_gram_ratio"] = _ratio(figures["regional_gram_distance"], untouched)
        known = {name: value for name, value in figures.items() if value is not None}
        return Judgement({k: v for k, v in known.items() if v == v}, regions)


def _to_references(features: StyleFeatures, styles: list[Look]) -> dict[str, float | None]:
    """Return the distances to all references, their means by weight."""
    whole = sum(style.weight for style in styles)
    found: dict[str, float | None] = {}
    for name, distance in STYLE_DISTANCES.items():
        parts = [(style.weight, distance(features, style.features)) for style in styles]
        found[name] = sum(weight * (value or 0.0) for weight, value in parts) / whole
    return found


def _closeness(style: Tensor, styles: list[Look]) -> float:
    """Return the cosine of a style descriptor with those of all references, by weight."""
    parts = [
        (one.weight, float((style * one.style).sum())) for one in styles if one.style is not None
    ]
    return sum(weight * value for weight, value in parts) / sum(weight for weight, _ in parts)


def _to_region(features: StyleFeatures, styles: list[Look], pair: RegionPair) -> dict[str, float]:
    reference = styles[pair.style].features
    found = {
        name: distance(features, reference, pair.mask, pair.style_mask)
        for name, distance in STYLE_DISTANCES.items()
    }
    return {name: value for name, value in found.items() if value is not None}


def _by_area(regions: list[dict[str, float]], areas: list[float]) -> dict[str, float]:
    means = {}
    for name in STYLE_DISTANCES:
        parts = [(area, one[name]) for area, one in zip(areas, regions, strict=True) if name in one]
        covered = sum(area for area, _ in parts)
        if covered:
            means[name] = sum(area * value for area, value in parts) / covered
    return means


def _ratio(now: float | None, before: float | None) -> float | None:
    return now / before if now is not None and before else None
