"""The state that an actor shares between items."""

import gc
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from schemas.gallery_params import gallery_params
from schemas.params import StyleParams
from schemas.work import StyleSource, WorkItem
from stylegallery import StyleGallery
from stylegallery.adapters.adapter_cache import AdapterCache
from tasks.items.prepared import PreparedCache
from tasks.records.learnt_files import LearningFailure
from tasks.storage import MAX_IMAGE_BYTES, StoragePath


@dataclass
class ActorContext:
    """Engine, output, parameters and caches of an actor.

    Attributes:
        engine: The loaded engine.
        output: The output root.
        params: Style parameters of the run.
        cache: Prepared images in memory.
        written: Paths of region maps that are known to exist.
        fingerprint: Engine fingerprint, stored in the metadata of assets.
        learning_base: What keys of learnt styles hold of the engine.
        run_id: The run; empty outside of runs.
        adapters: Learnt styles in memory, by their keys.
        failures: Styles that were not learnt, by their keys.
        refused: Galleries whose items fail, and why.
        batch: Maximum number of items per UNet call; reduced when memory runs out.
        found: Number of images found in `memory` or in the `prepared` store, or `computed`.
    """

    engine: StyleGallery
    output: StoragePath
    params: StyleParams
    cache: PreparedCache = field(default_factory=PreparedCache)
    written: set[str] = field(default_factory=set)
    fingerprint: str = ""
    learning_base: str = ""
    run_id: str = ""
    adapters: AdapterCache = field(default_factory=AdapterCache)
    failures: dict[str, LearningFailure] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    batch: int = 1
    found: Counter[str] = field(default_factory=Counter)
    _readers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    _prefetched: dict[str, "Future[tuple[bytes, str]]"] = field(default_factory=dict)

    def params_of(self, source: WorkItem | StyleSource) -> StyleParams:
        """Return the parameters of an item or reference: the run's, or its gallery's own."""
        return gallery_params(self.params, source.method, source.preset)

    def prefetch(self, uris: list[str]) -> None:
        """Start to read files that are needed next; drop all earlier prefetched files."""
        self._prefetched = {uri: self._readers.submit(_read, uri) for uri in uris}

    def read(self, uri: str) -> tuple[bytes, str]:
        """Return a file's bytes and their version.

        Raises:
            StorageError: the file cannot be read or exceeds MAX_IMAGE_BYTES.
        """
        future = self._prefetched.pop(uri, None)
        return future.result() if future else _read(uri)

    def free_memory(self) -> None:
        """Clear the cache of prepared images and release unused memory."""
        self.cache.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _read(uri: str) -> tuple[bytes, str]:
    return StoragePath.parse(uri).read_version(MAX_IMAGE_BYTES)
