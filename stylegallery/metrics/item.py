"""All metrics of one result: against its original, its references, and region by region."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from schemas.evaluation import ExternalWeights
from stylegallery.images.codec import to_short_side
from stylegallery.metrics.cfsd import Cfsd
from stylegallery.metrics.content import (
    edge_agreement,
    luminance_ms_ssim,
    luminance_ssim,
    protected_difference,
    protected_ssim,
    structure_distance,
)
from stylegallery.metrics.external import Lpips, StyleDescriptors
from stylegallery.metrics.frequency import high_share
from stylegallery.metrics.own_size import OwnSizeMetrics, SizedReference
from stylegallery.metrics.pairs import RegionPair, ratio, weighted_mean
from stylegallery.metrics.second import StylePredictor
from stylegallery.metrics.sets import block_vectors
from stylegallery.metrics.style import (
    StyleFeatures,
    color_distance,
    gram_distance,
    patch_distance,
    style_features,
)
from stylegallery.metrics.text import TextReader, text_kept
from stylegallery.models.lite0 import load_lite0
from stylegallery.models.semantic import Lite0Encoder

SHORT_SIDE = 320
"""Short side in pixels to which pictures are resized, so that textures have one scale. Only
protected pixels are compared at full size."""

STYLE_DISTANCES = {
    "gram_distance": gram_distance,
    "patch_distance": patch_distance,
    "colour_distance": color_distance,
}


@dataclass(frozen=True)
class ReferenceFeatures:
    """Features of a reference, computed once and compared with many results.

    Attributes:
        features: Style features at the scale of comparison.
        weight: Weight of the reference in its gallery.
        style: (1, D) contrastive style descriptor; None without its network.
        high_share: Share of its energy in high frequencies, 0 to 1.
        sized: Its pixels, for metrics at the own size of a result.
    """

    features: StyleFeatures
    weight: float
    style: Tensor | None
    high_share: float
    sized: SizedReference


@dataclass(frozen=True)
class Scores:
    """The metrics of one result.

    Attributes:
        metrics: Metrics of the whole picture by name; :class:`schemas.evaluation.ItemMetrics`
            describes each.
        regions: Style distances by name, for each pair of regions.
    """

    metrics: dict[str, float]
    regions: list[dict[str, float]]


def at_scale(pixels: Tensor) -> Tensor:
    """Resize pixels (1, 3, H, W) to the scale of comparison."""
    return to_short_side(pixels, SHORT_SIDE)


class MetricSuite:
    """Computes all metrics of results, and holds the networks for them."""

    def __init__(self, weights: ExternalWeights | None = None, benchmarks: bool = False) -> None:
        """Load EfficientNet-Lite0 and, where given, external networks.

        Args:
            weights: Weight files of external networks.
            benchmarks: Whether to load the second judge of style and the reader of text, which
                are too slow for whole catalogs.

        Raises:
            ModelNotFound: a file is missing or holds another network, or `benchmarks` is asked for
                and the extra of that name is not installed.
        """
        self._net = load_lite0("cpu")
        self._encode = Lite0Encoder(torch.device("cpu"))
        self._lpips = Lpips(weights.lpips) if weights and weights.lpips else None
        self._csd = StyleDescriptors(weights.csd) if weights and weights.csd else None
        self._cfsd = Cfsd(weights.cfsd) if weights and weights.cfsd else None
        self._own_size = OwnSizeMetrics(self._net, StylePredictor() if benchmarks else None)
        self._reader = TextReader() if benchmarks else None
        # A photo is read once for all results that are made of it.
        self._photo_lines = lru_cache(2)(self._reader.steady_lines) if self._reader else None

    def reference_features(self, pixels: Tensor, weight: float = 1.0) -> ReferenceFeatures:
        """Compute the features of a reference.

        Args:
            pixels: (1, 3, H, W) in [0, 1].
            weight: Weight of the reference in its gallery, above 0.
        """
        small = at_scale(pixels)
        return ReferenceFeatures(
            style_features(self._net, small),
            weight,
            self._csd.describe(pixels) if self._csd else None,
            high_share(small),
            SizedReference(pixels),
        )

    def block_vectors(self, pixels: Tensor) -> Tensor:
        """Return the (16, 192) vectors of a picture for the Fréchet distance of sets.

        Args:
            pixels: (1, 3, H, W) in [0, 1].
        """
        return block_vectors(self._net, at_scale(pixels))

    def score(
        self,
        result: Tensor,
        original: Tensor,
        styles: list[ReferenceFeatures],
        pairs: list[RegionPair],
        protection: Tensor | None = None,
    ) -> Scores:
        """Compute all metrics of one result; a metric that does not apply is left out.

        Args:
            result: (1, 3, H, W) in [0, 1].
            original: Same shape and range.
            styles: The gallery's references, at least one.
            pairs: Matched regions.
            protection: (1, 1, H, W) in [0, 1]; 1 marks pixels that must not change.
        """
        after, before = at_scale(result), at_scale(original)
        features = style_features(self._net, after)
        plain = style_features(self._net, before)
        metrics: dict[str, float | None] = {
            "ssim": luminance_ssim(after, before),
            "ms_ssim": luminance_ms_ssim(after, before),
            "edge_agreement": edge_agreement(after, before),
            "structure_distance": structure_distance(self._encode(after), self._encode(before)),
            "content_colour_distance": color_distance(features, plain),
            "hfrd": _spectrum_difference(high_share(after), styles),
        }
        if protection is not None:
            metrics["protected_ssim"] = protected_ssim(result, original, protection)
            metrics["protected_difference"] = protected_difference(result, original, protection)
        if self._lpips:
            metrics["lpips"] = self._lpips(after, before)
        if self._csd:
            metrics["csd"] = _descriptor_similarity(self._csd.describe(result), styles)
        if self._cfsd:
            metrics["cfsd"] = self._cfsd(result, original)
        if self._reader and self._photo_lines:
            lines = self._photo_lines(original)
            metrics["text_kept"] = text_kept(lines, self._reader.lines(result))
        metrics |= _style_distances(features, styles)
        untouched = _style_distances(plain, styles)["gram_distance"]
        metrics["gram_ratio"] = ratio(metrics["gram_distance"], untouched)
        regions = [_region_distances(features, styles, pair) for pair in pairs]
        if pairs:
            areas = [pair.area for pair in pairs]
            metrics |= {f"regional_{k}": v for k, v in _by_area(regions, areas).items()}
            former = [
                gram_distance(plain, styles[p.style].features, p.mask, p.style_mask) for p in pairs
            ]
            untouched = sum(a * d for a, d in zip(areas, former, strict=True)) / sum(areas)
            metrics["regional_gram_ratio"] = ratio(metrics["regional_gram_distance"], untouched)
        metrics |= self._own_size.score(
            result, original, [(style.weight, style.sized) for style in styles], pairs
        )
        known = {name: value for name, value in metrics.items() if value is not None}
        return Scores({k: v for k, v in known.items() if v == v}, regions)


def _style_distances(
    features: StyleFeatures, styles: list[ReferenceFeatures]
) -> dict[str, float | None]:
    """Return each style distance to the references, averaged by weight."""
    whole = sum(style.weight for style in styles)
    found: dict[str, float | None] = {}
    for name, distance in STYLE_DISTANCES.items():
        parts = [(style.weight, distance(features, style.features)) for style in styles]
        found[name] = sum(weight * (value or 0.0) for weight, value in parts) / whole
    return found


def _spectrum_difference(share: float, styles: list[ReferenceFeatures]) -> float | None:
    """Return the difference of a share of high frequencies to the references', by weight."""
    return weighted_mean((style.weight, abs(share - style.high_share)) for style in styles)


def _descriptor_similarity(style: Tensor, styles: list[ReferenceFeatures]) -> float:
    """Return the cosine similarity of style descriptors to the references, averaged by weight."""
    parts = [
        (one.weight, float((style * one.style).sum())) for one in styles if one.style is not None
    ]
    return sum(weight * value for weight, value in parts) / sum(weight for weight, _ in parts)


def _region_distances(
    features: StyleFeatures, styles: list[ReferenceFeatures], pair: RegionPair
) -> dict[str, float]:
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
