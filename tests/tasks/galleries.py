"""Galleries to learn from, and how the tiny model learns in a moment and in this process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from skimage import data as photos

from schemas.params import StyleParams
from tests.tasks.pictures import save

LEARNING = StyleParams.model_validate(
    {
        "method": "sms",
        "passes": 1,
        "image_size": 64,
        "adapter": {"adapter_rank": 2, "adapter_steps": 3},
    }
)
PICTURES = {
    "cup": photos.coffee()[:100, :100],
    "table": photos.coffee()[200:300, 200:300],
    "sky": photos.rocket()[:100, :100],
    "flat": np.full((100, 100, 3), 90, np.uint8),
    "small": photos.rocket()[:60, :60],
    "clear": np.dstack([photos.rocket()[:100, :100], np.zeros((100, 100), np.uint8)]),
}


def write_learnable(folder: Path, galleries: Mapping[str, Sequence[str]]) -> Path:
    """Write a manifest of galleries with references out of PICTURES."""
    for name, pixels in PICTURES.items():
        save(folder / f"{name}.png", pixels)
    rows = [(gallery, name) for gallery, names in galleries.items() for name in names]
    table = {
        "gallery_id": [gallery for gallery, _ in rows],
        "style_id": [name for _, name in rows],
        "image_uri": [f"{name}.png" for _, name in rows],
        "license": ["CC0"] * len(rows),
        "attribution": ["A. Painter"] * len(rows),
    }
    pq.write_table(pa.table(table), folder / "galleries.parquet")
    return folder / "galleries.parquet"


def in_this_process(
    function: Callable[[Any], Any], inputs: Sequence[Any], *_: Any, **__: Any
) -> Iterator[tuple[int, Any]]:
    """Map a function as `tasks.cluster.parallel.map_unordered` does, without Ray."""
    for index, one in enumerate(inputs):
        try:
            yield index, function(one)
        except Exception as error:
            yield index, error
