"""The actor: loads the engine once, then does leases of items one after the other."""

import gc
import logging
import os
import socket
from collections.abc import Iterator

from schemas.result import ItemResult
from tasks.faults import is_sticky
from tasks.keys import key_of
from tasks.lease import ActorSetup, Assignment, Event, Started

logger = logging.getLogger(__name__)


class StyleActor:
    """One engine in one process; Ray makes it remote (see `tasks.workers`)."""

    def __init__(self, setup: ActorSetup) -> None:
        """Load the engine.

        Raises:
            StyleGalleryError: the model cannot be loaded; Ray does not try again.
        """
        import torch

        from stylegallery import StyleGallery
        from tasks.sources import Bench

        if setup.threads:
            torch.set_num_threads(setup.threads)
        self._setup = setup
        self._bench = Bench(
            StyleGallery.load(setup.engine),
            setup.output,
            setup.params,
            fingerprint=setup.engine_fingerprint,
        )
        self._node = socket.gethostname()

    def ready(self) -> int:
        """Answer with the process id once the engine is loaded."""
        return os.getpid()

    def run(self, lease: list[Assignment]) -> Iterator[Event]:
        """Do the items of a lease, yielding a marker and then the row of each."""
        for assignment in lease:
            yield Started(key_of(assignment.item))
            yield self._do(assignment)

    def _do(self, assignment: Assignment) -> ItemResult:
        from tasks.item import restyle_item

        row = restyle_item(self._bench, assignment.item, adopt=assignment.adopt)
        if row.error and is_sticky(row.error.message):
            # Raising would not do: the process would live on and fail every later item.
            logger.error("the CUDA context is lost, leaving: %s", row.error.message)
            os._exit(1)
        if row.error and row.error.type in ("OutOfMemoryError", "MemoryError"):
            self._free_memory()
        return row.model_copy(
            update={
                "attempts": assignment.attempt,
                "engine_fingerprint": self._setup.engine_fingerprint,
                "node": self._node,
                "run_id": self._setup.run_id,
            }
        )

    def _free_memory(self) -> None:
        import torch

        self._bench.cache.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
