"""Check that assets and region maps have the SHA-256 that was recorded for them."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.arrow import from_table
from schemas.result import ItemResult
from tasks.errors import FileMissing
from tasks.storage import StoragePath

_THREADS = 16
_ROWS = 256


def map_digests(regions_uri: str | None, style_regions: Mapping[str, str]) -> dict[str, str]:
    """Return path to SHA-256 of an item's region maps; the hash is the file's name."""
    paths = {path for path in (regions_uri, *style_regions.values()) if path}
    return {path: path.rsplit("/", 1)[-1].removesuffix(".png") for path in paths}


def file_problem(file: StoragePath, sha256: str) -> str:
    """Return what is wrong with a file; empty if it is intact.

    Args:
        file: The file.
        sha256: SHA-256 that was recorded when the file was written.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        data = file.read_bytes()
    except FileMissing:
        return "is missing"
    if hashlib.sha256(data).hexdigest() != sha256:
        return "differs from the file that was written"
    return ""


class FinishedFiles:
    """Checks the files of finished items of one output; reads each region map once."""

    def __init__(self, output: StoragePath) -> None:
        """Check files below `output`, the output root."""
        self._output = output
        self._maps: dict[str, bool] = {}

    def are_intact(self, rows: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Check the files of N ok rows.

        Returns:
            (N,) true where the asset is intact, and (N,) true where all region maps are.

        Raises:
            StorageError: a file cannot be read.
        """
        assets, maps = list[bool](), list[bool]()
        for begin in range(0, len(rows), _ROWS):
            some = from_table(rows.slice(begin, _ROWS), ItemResult)
            of_each = [map_digests(row.regions_uri, row.style_regions) for row in some]
            wanted = {path: sha for digests in of_each for path, sha in digests.items()}
            fresh = {path: sha for path, sha in wanted.items() if path not in self._maps}
            self._maps |= dict(zip(fresh, self._check_files(list(fresh.items())), strict=True))
            maps += [all(self._maps[path] for path in digests) for digests in of_each]
            assets += self._check_files(
                [(str(row.asset_uri), str(row.asset_sha256)) for row in some]
            )
        return np.array(assets, bool), np.array(maps, bool)

    def _check_files(self, files: list[tuple[str, str]]) -> list[bool]:
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(lambda file: file_problem(self._output / file[0], file[1]), files)
            return [not problem for problem in found]
