"""What the figures of many items come to: means with intervals, and each gallery as a set."""

from collections import defaultdict
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.evaluation import (
    EvaluationSummary,
    GalleryFigures,
    ItemEvaluation,
    ItemFigures,
    Span,
)
from schemas.work import WorkItem
from stylegallery import images
from stylegallery.errors import InputError
from stylegallery.metrics.judging import Judge
from stylegallery.metrics.sets import (
    Interval,
    art_product,
    frechet_interval,
    mean_interval,
)
from tasks import storage
from tasks.cluster import Layout
from tasks.crew import spread
from tasks.errors import StorageError
from tasks.run_files import RunFiles

_SAMPLE, _PIECE = 500, 16
"""Pictures of a gallery that its set is judged by, and those that one process reads in one go."""
_CONTENT = "structure_distance"


class Totals:
    """Takes rows as they are made, and keeps numbers alone."""

    def __init__(self, files: RunFiles, gates: list[str]) -> None:
        """Begin with nothing.

        Args:
            files: Of the run.
            gates: Those that it sets.
        """
        self._files, self._gates = files, gates
        self._figures: dict[str, list[float]] = {name: [] for name in ItemFigures.model_fields}
        self._content: dict[str, list[float]] = defaultdict(list)
        self._assets: dict[str, list[str]] = defaultdict(list)
        self._references: dict[str, list[str]] = {}
        self.items = self._flagged = self._unmeasured = 0

    def add(self, rows: list[ItemEvaluation], items: list[WorkItem]) -> None:
        """Take rows and the items that they are of."""
        for row, item in zip(rows, items, strict=True):
            self.items += 1
            self._flagged += bool(row.flags)
            if row.error:
                self._unmeasured += 1
                continue
            for name, values in self._figures.items():
                if (value := getattr(row, name)) is not None:
                    values.append(value)
            if row.structure_distance is not None:
                self._content[row.gallery_id].append(row.structure_distance)
            self._assets[row.gallery_id].append(item.asset_key)
            self._references[row.gallery_id] = [style.image_uri for style in item.styles]

    def summary(self, layout: Layout) -> EvaluationSummary:
        """Say what all of it comes to.

        Args:
            layout: Of the Ray cluster, which reads some pictures again.
        """
        return EvaluationSummary(
            items=self.items,
            measured=self.items - self._unmeasured,
            flagged=self._flagged,
            unmeasured=self._unmeasured,
            gates=self._gates,
            figures={
                name: _span(mean_interval(np.array(values)))
                for name, values in self._figures.items()
                if values
            },
            galleries={name: self._gallery(name, layout) for name in sorted(self._assets)},
        )

    def _gallery(self, name: str, layout: Layout) -> GalleryFigures:
        assets = self._assets[name]
        count = min(_SAMPLE, len(assets))
        evenly = (assets[place * len(assets) // count] for place in range(count))
        chosen = [storage.join(self._files.output, asset) for asset in evenly]
        made = _all_vectors(chosen, layout)
        wanted = _all_vectors(self._references[name], layout)
        if not len(made) or not len(wanted):
            return GalleryFigures()
        distance = frechet_interval(made, wanted)
        content = float(np.mean(self._content[name]))
        return GalleryFigures(
            frechet_lite0=_span(distance), art_product_lite0=art_product(content, distance.value)
        )


def vectors(uris: list[str]) -> NDArray[np.float64]:
    """Return (N, 16, 192) vectors of those pictures that can be read, in a process of its own."""
    found = []
    for uri in uris:
        try:
            picture = images.decode(storage.read_bytes(uri, storage.MAX_IMAGE_BYTES), uri)
        except InputError:
            continue
        except StorageError as error:
            if error.transient:
                raise
            continue
        found.append(_judge().vectors(picture.pixels).numpy())
    return np.array(found, dtype=np.float64).reshape(len(found), -1, 192)


@lru_cache(1)
def _judge() -> Judge:
    return Judge()


def _all_vectors(uris: list[str], layout: Layout) -> NDArray[np.float64]:
    pieces = [uris[i : i + _PIECE] for i in range(0, len(uris), _PIECE)]
    found = dict(spread(vectors, pieces, layout))
    whole = [made for _, made in sorted(found.items()) if not isinstance(made, Exception)]
    return np.concatenate(whole) if whole else np.empty((0, 16, 192))


def _span(interval: Interval) -> Span:
    return Span(value=interval.value, low=interval.low, high=interval.high, count=interval.count)
