"""Log lines for failed items, and Prometheus metrics.

Ray exports the metrics on each node and adds node and session as labels:
`ray_stylegallery_items_total` by status and gallery, `ray_stylegallery_retries_total`,
`ray_stylegallery_stage_seconds` by stage, `ray_stylegallery_queue`, `ray_stylegallery_actors`, and
from actors `ray_stylegallery_images_total` by where a prepared image was found.
"""

import logging
from collections import Counter as Counts

from ray.util.metrics import Counter, Gauge, Histogram

from schemas.result import ItemResult
from tasks.records.item_key import key_of

logger = logging.getLogger(__name__)

_MAX_LINES = 200
_BUCKETS = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]


class RunMetrics:
    """Metrics and log lines of one run, in the driver."""

    def __init__(self) -> None:
        """Register the metrics with Ray, which must be running."""
        self._lines = _MAX_LINES
        self._items = Counter("stylegallery_items_total", "Finished items.", ("status", "gallery"))
        self._retries = Counter("stylegallery_retries_total", "Attempts that were retried.")
        self._stages = Histogram(
            "stylegallery_stage_seconds", "Seconds per item and stage.", _BUCKETS, ("stage",)
        )
        self._queue = Gauge("stylegallery_queue", "Items not yet assigned to an actor.")
        self._actors = Gauge("stylegallery_actors", "Actors whose engine is loaded.")

    def record(self, result: ItemResult, *, retried: bool) -> None:
        """Count the result of an attempt; log it if it has an error."""
        self._log(result, retried)
        if retried:
            self._retries.inc()
            return
        self._items.inc(tags={"status": result.status, "gallery": result.gallery_id})
        for stage, seconds in result.timings.items():
            self._stages.observe(seconds, tags={"stage": stage})

    def set_load(self, queued: int, actors: int) -> None:
        """Set the number of queued items and of actors whose engine is loaded."""
        self._queue.set(queued)
        self._actors.set(actors)

    def _log(self, result: ItemResult, retried: bool) -> None:
        if result.error is None or self._lines < 0:
            return
        self._lines -= 1
        if self._lines < 0:
            logger.warning("more items failed; the ledger and the report list them")
            return
        item = f"{result.product_id}/{result.view} in {result.gallery_id}"
        name = f"{item} (item {result.item_id[:12]})"
        outcome = "will be retried, failed" if retried else result.status
        message, stage = result.error.message, result.error.stage
        extra = key_of(result)._asdict()
        logger.warning("%s: %s in %s: %s", name, outcome, stage, message, extra=extra)


class CacheMetrics:
    """Counts, in an actor, where prepared images were found: the hit rates of the caches."""

    def __init__(self) -> None:
        """Register the metric with Ray, which must be running."""
        self._images = Counter(
            "stylegallery_images_total", "Prepared images, by where they were found.", ("found",)
        )

    def report(self, found: Counts[str]) -> None:
        """Add counts to the metric and reset them."""
        for place, count in found.items():
            self._images.inc(count, tags={"found": place})
        found.clear()
