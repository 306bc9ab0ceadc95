"""Evaluate one result: read its files, return its metrics."""

import logging
from functools import lru_cache

import torch
from torch import Tensor

from schemas.evaluation import ExternalWeights, ItemEvaluation, RegionMetrics
from schemas.result import ItemResult, MatchRow
from schemas.text import one_line
from schemas.work import StyleSource, WorkItem
from stylegallery.errors import BadImage, InputError
from stylegallery.images import codec
from stylegallery.images.picture import Picture
from stylegallery.metrics.item import MetricSuite, ReferenceFeatures
from stylegallery.metrics.pairs import RegionPair
from stylegallery.regions import label_images
from stylegallery.regions.region_png import decode_region_map
from tasks.errors import StorageError
from tasks.storage import MAX_IMAGE_BYTES, StoragePath
from tasks.storage.redaction import redact

MEASURE = "lite0-320-2"
"""Version of the metrics: change it when a metric changes; older rows are then computed again."""

_CACHED = 64
_KEYS = ("item_id", "product_id", "view", "gallery_id", "asset_sha256")

logger = logging.getLogger(__name__)


class ItemEvaluator:
    """Evaluates items of one output; references and region maps are cached."""

    def __init__(self, output: StoragePath, weights: ExternalWeights) -> None:
        """Load the networks.

        Args:
            output: The output root.
            weights: Weight files of external networks.

        Raises:
            ModelNotFound: a weight file is missing or of another network.
        """
        self._output, self._metrics = output, MetricSuite(weights)
        self._measure = measurement_name(weights)
        self._references = lru_cache(_CACHED)(self._read_reference)
        self._labels = lru_cache(_CACHED)(self._read_labels)

    def evaluate(self, result: ItemResult, item: WorkItem) -> ItemEvaluation:
        """Evaluate one item with an asset; an unusable file becomes the row's `error`.

        Raises:
            StorageError: a transient error of the store.
        """
        try:
            return _row(result, self._measure, self._score(result, item))
        except (InputError, StorageError) as error:
            if isinstance(error, StorageError) and error.transient:
                raise
            return failed_evaluation(result, self._measure, str(error))

    def _score(self, result: ItemResult, item: WorkItem) -> dict[str, object]:
        """Return the metrics of one item: fields of ItemEvaluation.

        Raises:
            InputError: a file cannot be used or has changed.
            StorageError: a file cannot be read.
        """
        original = _picture(StoragePath.parse(item.image_uri), item.image_version)
        restyled = _picture(self._output / (result.asset_uri or ""))
        if restyled.size != original.size:
            raise BadImage(f"{result.asset_uri} and {item.image_uri} differ in size")
        protection = None
        if item.protect_uri:
            data = _read(StoragePath.parse(item.protect_uri), item.protect_version)
            protection = label_images.decode_protection(data, item.protect_uri)
        styles = {style.style_id: n for n, style in enumerate(item.styles)}
        pairs = [(match, self._pair(match, result, styles)) for match in result.matches]
        matched = [(match, pair) for match, pair in pairs if pair is not None]
        scores = self._metrics.score(
            restyled.pixels,
            original.pixels,
            [self._references(style) for style in item.styles],
            [pair for _, pair in matched],
            protection,
        )
        regions = [
            RegionMetrics.model_validate(
                {**match.model_dump(include=set(RegionMetrics.model_fields)), **metrics}
            )
            for (match, _), metrics in zip(matched, scores.regions, strict=True)
        ]
        return {**scores.metrics, "regions": regions}

    def _pair(
        self, match: MatchRow, result: ItemResult, styles: dict[str, int]
    ) -> RegionPair | None:
        """Return the two regions of a match, or None without a map or if the original was kept."""
        style_map = result.style_regions.get(match.style_id)
        if match.fallback == "content" or not result.regions_uri or style_map is None:
            return None
        mask = self._labels(result.regions_uri) == match.region
        style_mask = self._labels(style_map) == match.style_region
        if not mask.any() or not style_mask.any():
            return None
        return RegionPair(mask, styles[match.style_id], style_mask, match.area)

    def _read_reference(self, style: StyleSource) -> ReferenceFeatures:
        pixels = _picture(StoragePath.parse(style.image_uri), style.image_version).pixels
        return self._metrics.reference_features(pixels, style.weight)

    def _read_labels(self, path: str) -> Tensor:
        return torch.from_numpy(decode_region_map(_read(self._output / path)).copy())


def measurement_name(weights: ExternalWeights) -> str:
    """Return the name of a set of metrics; rows with another name are computed again."""
    given = [name for name in ("lpips", "csd", "cfsd") if getattr(weights, name)]
    return "+".join([MEASURE, *given])


def failed_evaluation(result: ItemResult, measure: str, why: str) -> ItemEvaluation:
    """Return the row of a result that cannot be evaluated."""
    message = one_line(redact(why), 600)
    logger.warning("%s cannot be evaluated: %s", result.item_id[:12], message)
    return _row(result, measure, {"error": message})


def _row(result: ItemResult, measure: str, metrics: dict[str, object]) -> ItemEvaluation:
    known = {name: getattr(result, name) for name in _KEYS}
    return ItemEvaluation.model_validate({**known, "measure": measure, **metrics})


def _picture(file: StoragePath, version: str | None = None) -> Picture:
    return codec.decode(_read(file, version), file.uri)


def _read(file: StoragePath, version: str | None = None) -> bytes:
    """Read a file in its planned version.

    Raises:
        BadImage: it changed after the run.
        StorageError: it cannot be read.
    """
    data, now = file.read_version(MAX_IMAGE_BYTES)
    if version not in (None, now):
        raise BadImage(f"{file} changed after the run; run the same command again")
    return data
