"""Warnings in results: an input looks wrong although the item has an asset."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_MAX_WARNINGS = 20


def has_warning(rows: pa.Table) -> NDArray[np.bool_]:
    """Return (N,) bool: whether each result has a warning."""
    lengths = pc.fill_null(pc.list_value_length(rows["warnings"]), 0)  # null: an older table
    warned: NDArray[np.bool_] = pc.greater(lengths, 0).to_numpy()
    return warned


def unique_warnings(rows: pa.Table) -> set[str]:
    """Return the distinct warnings of all results."""
    return set(pc.list_flatten(rows["warnings"]).unique().to_pylist())


def first_warnings(warnings: Iterable[str]) -> list[str]:
    """Return the first warnings in sorted order, as many as a summary holds."""
    return sorted(warnings)[:_MAX_WARNINGS]
