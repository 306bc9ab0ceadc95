"""Warnings in the rows of results: on inputs to look at, although there is an asset."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_MOST = 20


def is_warned(rows: pa.Table) -> NDArray[np.bool_]:
    """Return (N,) true where a row has a warning."""
    lengths = pc.fill_null(pc.list_value_length(rows["warnings"]), 0)  # null: an older table
    warned: NDArray[np.bool_] = pc.greater(lengths, 0).to_numpy()
    return warned


def sentences(rows: pa.Table) -> set[str]:
    """Return the warnings of all rows, each once."""
    return set(pc.list_flatten(rows["warnings"]).unique().to_pylist())


def first(warnings: Iterable[str]) -> list[str]:
    """Return the first warnings in order: as many as a summary holds."""
    return sorted(warnings)[:_MOST]
