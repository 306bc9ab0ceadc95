"""Aggregate the metrics of many items: means with intervals, and distances of galleries as sets."""

from collections import Counter, defaultdict
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from schemas.evaluation import (
    ConfidenceInterval,
    EvaluationSummary,
    ExternalWeights,
    GalleryMetrics,
    Gate,
    ItemEvaluation,
    ItemMetrics,
)
from schemas.work import WorkItem
from stylegallery.errors import InputError
from stylegallery.images import codec
from stylegallery.metrics.inception import ArtInception
from stylegallery.metrics.item import MetricSuite
from stylegallery.metrics.sets import (
    art_product,
    frechet_interval,
    mean_interval,
)
from tasks.cluster.parallel import map_unordered
from tasks.cluster.session import Layout
from tasks.errors import StorageError
from tasks.records.layout import RunFiles
from tasks.storage import MAX_IMAGE_BYTES, StoragePath

_SAMPLE, _TASK_IMAGES = 500, 16
"""Maximum number of assets per gallery for set distances, and images per Ray task."""


class Totals:
    """Accumulates metrics; keeps only numbers and paths."""

    def __init__(self, files: RunFiles, gates: list[str], nets: ExternalWeights) -> None:
        """Start with no items.

        Args:
            files: Files of the run.
            gates: Its quality gates.
            nets: Weight files of external networks.
        """
        self._files, self._gates, self._nets = files, gates, nets
        self._figures: dict[str, list[float]] = {name: [] for name in ItemMetrics.model_fields}
        self._content: dict[str, list[float]] = defaultdict(list)
        self._lpips: dict[str, list[float]] = defaultdict(list)
        self._assets: dict[str, list[str]] = defaultdict(list)
        self._references: dict[str, list[str]] = {}
        self._parsed = {text: Gate.parse(text) for text in gates}
        self._missed: Counter[str] = Counter()
        self.items = self._flagged = self._unmeasured = 0

    def add(self, rows: list[ItemEvaluation], items: list[WorkItem]) -> None:
        """Add rows and their planned items."""
        for row, item in zip(rows, items, strict=True):
            self.items += 1
            self._flagged += bool(row.flags)
            for text, gate in self._parsed.items():
                self._missed[text] += bool(gate.violation(row))
            if row.error:
                self._unmeasured += 1
                continue
            for name, values in self._figures.items():
                if (value := getattr(row, name)) is not None:
                    values.append(value)
            if row.structure_distance is not None:
                self._content[row.gallery_id].append(row.structure_distance)
            if row.lpips is not None:
                self._lpips[row.gallery_id].append(row.lpips)
            self._assets[row.gallery_id].append(item.asset_key)
            self._references[row.gallery_id] = [style.image_uri for style in item.styles]

    def summary(self, layout: Layout) -> EvaluationSummary:
        """Return the summary; set distances read some images again, in Ray tasks.

        Args:
            layout: Layout of the Ray cluster.
        """
        return EvaluationSummary(
            items=self.items,
            measured=self.items - self._unmeasured,
            flagged=self._flagged,
            unmeasured=self._unmeasured,
            gates=self._gates,
            missed={text: self._missed[text] for text in self._gates},
            figures={
                name: mean_interval(np.array(values))
                for name, values in self._figures.items()
                if values
            },
            galleries={name: self._gallery(name, layout) for name in sorted(self._assets)},
        )

    def _gallery(self, name: str, layout: Layout) -> GalleryMetrics:
        """Compare an even sample of a gallery's assets with its references, as sets."""
        assets = self._assets[name]
        count = min(_SAMPLE, len(assets))
        sample = (assets[place * len(assets) // count] for place in range(count))
        chosen = [(self._files.output / asset).uri for asset in sample]
        blocks = self._distance("", chosen, self._references[name], layout)
        if not blocks:
            return GalleryMetrics()
        content = float(np.mean(self._content[name]))
        found = GalleryMetrics(
            frechet_lite0=blocks, art_product_lite0=art_product(content, blocks.value)
        )
        weights = self._nets.inception
        fid = self._distance(weights, chosen, self._references[name], layout) if weights else None
        if not fid:
            return found
        lpips = self._lpips[name]
        product = art_product(float(np.mean(lpips)), fid.value) if lpips else None
        return found.model_copy(update={"fid_art": fid, "art_fid": product})

    def _distance(
        self, weights: str, assets: list[str], references: list[str], layout: Layout
    ) -> ConfidenceInterval | None:
        """Return the Frechet distance of two sets of images.

        `weights` is a file of an Inception network, or empty for the blocks of Lite0.
        """
        sets = [_all_vectors(weights, uris, layout) for uris in (assets, references)]
        return frechet_interval(sets[0], sets[1]) if all(map(len, sets)) else None


def vectors(task: tuple[str, list[str]]) -> NDArray[np.float64]:
    """Return feature vectors (N, blocks, channels) of the images that can be read.

    Args:
        task: A file of an Inception network, or empty for Lite0's blocks; and the images' URIs.
    """
    weights, uris = task
    found = []
    for uri in uris:
        try:
            picture = codec.decode(StoragePath.parse(uri).read_bytes(MAX_IMAGE_BYTES), uri)
        except InputError:
            continue
        except StorageError as error:
            if error.transient:
                raise
            continue
        found.append(_encoder(weights)(picture.pixels).numpy().astype(np.float64))
    return np.stack(found) if found else np.empty((0, 1, 1))


@lru_cache(2)
def _encoder(weights: str) -> Callable[[Tensor], Tensor]:
    return ArtInception(weights).describe if weights else MetricSuite().block_vectors


def _all_vectors(weights: str, uris: list[str], layout: Layout) -> NDArray[np.float64]:
    tasks = [(weights, uris[i : i + _TASK_IMAGES]) for i in range(0, len(uris), _TASK_IMAGES)]
    found = dict(map_unordered(vectors, tasks, layout))
    arrays = [made for _, made in sorted(found.items()) if not isinstance(made, Exception)]
    filled = [array for array in arrays if len(array)]
    return np.concatenate(filled) if filled else np.empty((0, 1, 1))
