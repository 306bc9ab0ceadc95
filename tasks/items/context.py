"""What an actor works with from its first item to its last."""

import gc
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from schemas.params import StyleParams
from stylegallery import StyleGallery
from tasks import storage
from tasks.items.memory import PreparedCache


@dataclass
class ActorContext:
    """What an actor works with.

    Attributes:
        engine: Loaded once.
        output: Absolute URI of the output root.
        params: Of the run.
        cache: Prepared images.
        written: Paths of region maps known to stand.
        fingerprint: Of the engine, for the assets' notes.
        batch: How many items may share the engine's calls; falls when memory does not suffice.
        found: How many images were found in `memory`, in the `prepared` store, or `computed`.
    """

    engine: StyleGallery
    output: str
    params: StyleParams
    cache: PreparedCache = field(default_factory=PreparedCache)
    written: set[str] = field(default_factory=set)
    fingerprint: str = ""
    batch: int = 1
    found: Counter[str] = field(default_factory=Counter)
    _readers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    _coming: dict[str, "Future[tuple[bytes, str]]"] = field(default_factory=dict)

    def ahead(self, uris: list[str]) -> None:
        """Begin to read files that will be asked for next, in place of all read ahead before."""
        self._coming = {
            uri: self._readers.submit(storage.read_version, uri, storage.MAX_IMAGE_BYTES)
            for uri in uris
        }

    def read(self, uri: str) -> tuple[bytes, str]:
        """Return a file's bytes and their version.

        Raises:
            StorageError: it cannot be read, or is larger than storage.MAX_IMAGE_BYTES.
        """
        coming = self._coming.pop(uri, None)
        return coming.result() if coming else storage.read_version(uri, storage.MAX_IMAGE_BYTES)

    def free_memory(self) -> None:
        """Let go of whatever can be made again."""
        self.cache.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
