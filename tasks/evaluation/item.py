"""One result's files in, its row of figures out."""

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
from stylegallery.metrics.item import MetricSuite, ReferenceFeatures, RegionPair
from stylegallery.regions import label_images
from tasks import storage
from tasks.errors import StorageError
from tasks.report.thumbnails import NotAnImage, read_labels
from tasks.storage.redaction import redact

MEASURE = "lite0-320-1"
"""Another name whenever a figure of the same pictures changes; rows of the old are made anew."""

_MOST_KEPT = 64
_KEYS = ("item_id", "product_id", "view", "gallery_id", "asset_sha256")

logger = logging.getLogger(__name__)


class ItemEvaluator:
    """Measures items of one output, one after the other; what galleries share is read once."""

    def __init__(self, output: str, weights: ExternalWeights) -> None:
        """Load the networks.

        Args:
            output: Absolute URI of the output root.
            weights: Weight files of external networks.

        Raises:
            ModelNotFound: one of them is not there, or not what it should be.
        """
        self._output, self._metrics = output, MetricSuite(weights)
        self._measure = measure_of(weights)
        self._references = lru_cache(_MOST_KEPT)(self._read_reference)
        self._labels = lru_cache(_MOST_KEPT)(self._read_labels)

    def evaluate(self, result: ItemResult, item: WorkItem) -> ItemEvaluation:
        """Measure one item with an asset; what cannot be compared becomes the row's `error`.

        Raises:
            StorageError: the store is away for the moment.
        """
        try:
            return _row(result, self._measure, self._figures(result, item))
        except (InputError, NotAnImage, StorageError) as error:
            if isinstance(error, StorageError) and error.transient:
                raise
            return unmeasured(result, self._measure, str(error))

    def _figures(self, result: ItemResult, item: WorkItem) -> dict[str, object]:
        original = _picture(item.image_uri, item.image_version)
        made = _picture(storage.join(self._output, result.asset_uri or ""))
        if made.size != original.size:
            raise BadImage(f"{result.asset_uri} has not the size of {item.image_uri}")
        protection = None
        if item.protect_uri:
            data = _read(item.protect_uri, item.protect_version)
            protection = label_images.decode_protection(data, item.protect_uri)
        styles = {style.style_id: n for n, style in enumerate(item.styles)}
        pairs = [(match, self._pair(match, result, styles)) for match in result.matches]
        known = [(match, pair) for match, pair in pairs if pair is not None]
        scores = self._metrics.score(
            made.pixels,
            original.pixels,
            [self._references(style) for style in item.styles],
            [pair for _, pair in known],
            protection,
        )
        regions = [
            RegionMetrics.model_validate(
                {**match.model_dump(include=set(RegionMetrics.model_fields)), **figures}
            )
            for (match, _), figures in zip(known, scores.regions, strict=True)
        ]
        return {**scores.metrics, "regions": regions}

    def _pair(
        self, match: MatchRow, result: ItemResult, styles: dict[str, int]
    ) -> RegionPair | None:
        """Return the two regions of a match, None where the original was kept or a map is gone."""
        theirs = result.style_regions.get(match.style_id)
        if match.fallback == "content" or not result.regions_uri or theirs is None:
            return None
        mask = self._labels(result.regions_uri) == match.region
        style_mask = self._labels(theirs) == match.style_region
        if not mask.any() or not style_mask.any():
            return None
        return RegionPair(mask, styles[match.style_id], style_mask, match.area)

    def _read_reference(self, style: StyleSource) -> ReferenceFeatures:
        pixels = _picture(style.image_uri, style.image_version).pixels
        return self._metrics.reference_features(pixels, style.weight)

    def _read_labels(self, path: str) -> Tensor:
        return torch.from_numpy(read_labels(_read(storage.join(self._output, path))).copy())


def measure_of(weights: ExternalWeights) -> str:
    """Name a measurement: rows of another are made anew."""
    given = [name for name in ("lpips", "csd") if getattr(weights, name)]
    return "+".join([MEASURE, *given])


def unmeasured(result: ItemResult, measure: str, why: str) -> ItemEvaluation:
    """Return the row of a result that has no figures."""
    told = one_line(redact(why), 600)
    logger.warning("%s cannot be measured: %s", result.item_id[:12], told)
    return _row(result, measure, {"error": told})


def _row(result: ItemResult, measure: str, figures: dict[str, object]) -> ItemEvaluation:
    known = {name: getattr(result, name) for name in _KEYS}
    return ItemEvaluation.model_validate({**known, "measure": measure, **figures})


def _picture(uri: str, version: str | None = None) -> Picture:
    return codec.decode(_read(uri, version), uri)


def _read(uri: str, version: str | None = None) -> bytes:
    """Read a file; one that is not as planned any more is of no use for a comparison."""
    data, now = storage.read_version(uri, storage.MAX_IMAGE_BYTES)
    if version not in (None, now):
        raise BadImage(f"{uri} changed after the run; run the same command again")
    return data
