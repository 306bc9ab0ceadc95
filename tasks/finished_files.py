"""Whether assets and region maps hold the bytes that they were written with."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.arrow import from_table
from schemas.result import ItemResult
from tasks import storage
from tasks.errors import FileMissing

_THREADS = 16
_ROWS = 256


def map_digests(regions_uri: str | None, style_regions: Mapping[str, str]) -> dict[str, str]:
    """Return the path of each region map of an item, and its SHA-256, which it is named by."""
    paths = {path for path in (regions_uri, *style_regions.values()) if path}
    return {path: path.rsplit("/", 1)[-1].removesuffix(".png") for path in paths}


def fault(output: str, path: str, sha256: str) -> str:
    """Return what is wrong with a file, or nothing when it is whole.

    Args:
        output: Absolute URI of the output root.
        path: Of the file, below it.
        sha256: Of its bytes as they were written.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        data = storage.read_bytes(storage.join(output, path))
    except FileMissing:
        return "is missing"
    if hashlib.sha256(data).hexdigest() != sha256:
        return "its bytes are not those that were written"
    return ""


class FinishedFiles:
    """The files of finished items of one output; each is read once."""

    def __init__(self, output: str) -> None:
        """Look at none yet; `output` is the absolute URI of the root."""
        self._output = output
        self._maps: dict[str, bool] = {}

    def are_whole(self, rows: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Tell of ok rows (N) whether asset and region maps are whole, two masks (N,).

        Raises:
            StorageError: a file cannot be read.
        """
        assets, maps = list[bool](), list[bool]()
        for begin in range(0, len(rows), _ROWS):
            some = from_table(rows.slice(begin, _ROWS), ItemResult)
            of_each = [map_digests(row.regions_uri, row.style_regions) for row in some]
            wanted = {path: sha for digests in of_each for path, sha in digests.items()}
            fresh = {path: sha for path, sha in wanted.items() if path not in self._maps}
            self._maps |= dict(zip(fresh, self._look(list(fresh.items())), strict=True))
            maps += [all(self._maps[path] for path in digests) for digests in of_each]
            assets += self._look([(str(row.asset_uri), str(row.asset_sha256)) for row in some])
        return np.array(assets, bool), np.array(maps, bool)

    def _look(self, files: list[tuple[str, str]]) -> list[bool]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda file: not fault(self._output, *file), files))
