"""Metrics of a result at its own size, where strokes, hatching and small print can be seen."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property

from torch import Tensor, nn

from stylegallery.images.codec import to_bytes, to_short_side
from stylegallery.metrics.content import edge_agreement, luminance_ssim
from stylegallery.metrics.frequency import sharpness, texture_share
from stylegallery.metrics.pairs import RegionPair, ratio, weighted_mean
from stylegallery.metrics.scales import MOST_SIDE, reference_at, scale_sides
from stylegallery.metrics.second import TILE, StylePredictor, StyleTiles, style_vector_distance
from stylegallery.metrics.style import StyleFeatures, gram_distance, style_features

_KEPT_BYTES = 512 * 2**20
"""Bytes of features of references that are kept for the next results."""


class SizedReference:
    """A reference with all of its pixels, for comparison with results of any size."""

    def __init__(self, pixels: Tensor) -> None:
        """Keep a reference (1, 3, H, W) in [0, 1], at most as large as results are measured."""
        if min(pixels.shape[-2:]) > MOST_SIDE:
            pixels = to_short_side(pixels, MOST_SIDE)
        self._bytes = to_bytes(pixels)

    def at(self, side: int) -> Tensor | None:
        """Return its pixels beside a result of a short side, or None if it has too few."""
        return reference_at(self._bytes[None].float() / 255, side)


class _Sized:
    """A picture at one size, and what is computed of it when it is first asked for."""

    def __init__(self, pixels: Tensor, net: nn.Module, predictor: StylePredictor | None) -> None:
        self.pixels, self._net, self._predictor = pixels, net, predictor

    @cached_property
    def features(self) -> StyleFeatures:
        return style_features(self._net, self.pixels)

    @cached_property
    def tiles(self) -> StyleTiles:
        if self._predictor is None:
            raise ValueError("there is no second judge of style; give one to OwnSizeMetrics")
        return self._predictor.tiles(self.pixels)

    @property
    def bytes(self) -> int:
        """Bytes that it takes with its features, which take less than the pixels."""
        return 2 * self.pixels.numel() * self.pixels.element_size()


Distance = Callable[[_Sized, _Sized, Tensor | None, Tensor | None], float]
Beside = Sequence[tuple[float, _Sized | None]]
"""Weights of references, and the references at the size of a result; None has too few pixels."""


class OwnSizeMetrics:
    """Computes the metrics of results at their own size."""

    def __init__(self, net: nn.Module, predictor: StylePredictor | None = None) -> None:
        """Take the networks.

        Args:
            net: Result of :func:`stylegallery.models.lite0.load_lite0`.
            predictor: The second judge of style; None leaves its metrics out.
        """
        self._net, self._predictor = net, predictor
        self._kept: OrderedDict[tuple[SizedReference, int], _Sized | None] = OrderedDict()

    def score(
        self,
        result: Tensor,
        original: Tensor,
        references: Sequence[tuple[float, SizedReference]],
        pairs: Sequence[RegionPair],
    ) -> dict[str, float | None]:
        """Compute the metrics of one result; none for pictures below 128 px.

        Args:
            result: (1, 3, H, W) in [0, 1].
            original: Same shape and range.
            references: The gallery's references after their weights, at least one.
            pairs: Matched regions.

        Returns:
            Values by their name in :class:`schemas.evaluation.ItemMetrics`.
        """
        sides = scale_sides(original)
        metrics: dict[str, float | None] = {}
        for name, side in sides.items():
            after, before, beside = self._at(side, result, original, references)
            metrics |= _ratios("gram_ratio", name, _gram, after, before, beside, pairs)
            if name == "own":
                metrics |= _kept_content(after.pixels, before.pixels)
                metrics["texture_difference"] = _texture_difference(after, beside, pairs)
                if self._predictor:
                    second = ("second_style_ratio", name, _second)
                    metrics |= _ratios(*second, after, before, beside, pairs)
        for kind in ("gram_ratio", "regional_gram_ratio"):
            metrics[f"{kind}_scales"] = weighted_mean((1.0, metrics[f"{kind}_{n}"]) for n in sides)
        if self._predictor and sides:
            after, before, beside = self._at(TILE, result, original, references)
            now, former = (_to_all(_second, p, beside) for p in (after, before))
            metrics["second_style_distance"] = now
            metrics["second_style_ratio"] = ratio(now, former)
        return metrics

    def _at(
        self,
        side: int,
        result: Tensor,
        original: Tensor,
        references: Sequence[tuple[float, SizedReference]],
    ) -> tuple[_Sized, _Sized, Beside]:
        after, before = (
            _Sized(to_short_side(one, side), self._net, self._predictor)
            for one in (result, original)
        )
        return after, before, [(weight, self._beside(one, side)) for weight, one in references]

    def _beside(self, reference: SizedReference, side: int) -> _Sized | None:
        """Return a reference at a size; the last used ones are kept."""
        key = (reference, side)
        if key not in self._kept:
            pixels = reference.at(side)
            sized = None if pixels is None else _Sized(pixels, self._net, self._predictor)
            self._kept[key] = sized
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(s.bytes for s in self._kept.values() if s) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return self._kept[key]


def _gram(
    one: _Sized, other: _Sized, mask: Tensor | None = None, other_mask: Tensor | None = None
) -> float:
    return gram_distance(one.features, other.features, mask, other_mask)


def _second(
    one: _Sized, other: _Sized, mask: Tensor | None = None, other_mask: Tensor | None = None
) -> float:
    return style_vector_distance(one.tiles.mean(mask), other.tiles.mean(other_mask))


def _ratios(
    kind: str,
    name: str,
    distance: Distance,
    after: _Sized,
    before: _Sized,
    beside: Beside,
    pairs: Sequence[RegionPair],
) -> dict[str, float | None]:
    """Return the distance to all references relative to the original's; the same by region."""
    whole = [_to_all(distance, one, beside) for one in (after, before)]
    matched = [_to_matches(distance, one, beside, pairs) for one in (after, before)]
    return {f"{kind}_{name}": ratio(*whole), f"regional_{kind}_{name}": ratio(*matched)}


def _to_all(distance: Distance, picture: _Sized, beside: Beside) -> float | None:
    return weighted_mean(
        (weight, distance(picture, one, None, None)) for weight, one in beside if one
    )


def _to_matches(
    distance: Distance, picture: _Sized, beside: Beside, pairs: Sequence[RegionPair]
) -> float | None:
    return weighted_mean(
        (pair.area, distance(picture, one, pair.mask, pair.style_mask))
        for pair in pairs
        if (one := beside[pair.style][1])
    )


def _texture_difference(after: _Sized, beside: Beside, pairs: Sequence[RegionPair]) -> float | None:
    found = []
    for pair in pairs:
        if one := beside[pair.style][1]:
            wanted = texture_share(one.pixels, pair.style_mask)
            found.append((pair.area, abs(texture_share(after.pixels, pair.mask) - wanted)))
    return weighted_mean(found)


def _kept_content(result: Tensor, original: Tensor) -> dict[str, float | None]:
    return {
        "ssim_own": luminance_ssim(result, original),
        "edge_agreement_own": edge_agreement(result, original),
        "sharpness": sharpness(result, original),
    }
