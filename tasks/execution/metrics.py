"""What somebody who watches a run hears: lines for items that came to nothing, and figures.

The figures go to Prometheus through the endpoint that Ray opens on each node, which adds node and
session to them: `ray_stylegallery_items_total` by status and gallery,
`ray_stylegallery_retries_total`, `ray_stylegallery_stage_seconds` by stage,
`ray_stylegallery_queue` and `ray_stylegallery_actors`; actors add
`ray_stylegallery_images_total` by where an image was found.
"""

import logging
from collections import Counter as Counts

from ray.util.metrics import Counter, Gauge, Histogram

from schemas.result import ItemResult
from tasks.records.item_key import key_of

logger = logging.getLogger(__name__)

_MOST_LINES = 200
_SECONDS = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]


class RunMetrics:
    """The eyes on one run."""

    def __init__(self) -> None:
        """Register the figures with Ray, which must run."""
        self._lines = _MOST_LINES
        self._items = Counter(
            "stylegallery_items_total", "Items that ended.", ("status", "gallery")
        )
        self._retries = Counter("stylegallery_retries_total", "Attempts followed by another.")
        self._stages = Histogram(
            "stylegallery_stage_seconds", "Seconds of an item by stage.", _SECONDS, ("stage",)
        )
        self._queue = Gauge("stylegallery_queue", "Items not yet handed to an actor.")
        self._actors = Gauge("stylegallery_actors", "Actors that are up.")

    def row(self, row: ItemResult, *, again: bool) -> None:
        """Count a row, and log it when it has no asset; `again` where the item is tried again."""
        self._say(row, again)
        if again:
            self._retries.inc()
            return
        self._items.inc(tags={"status": row.status, "gallery": row.gallery_id})
        for stage, seconds in row.timings.items():
            self._stages.observe(seconds, tags={"stage": stage})

    def load(self, waiting: int, actors: int) -> None:
        """Tell how many items wait and how many actors are up."""
        self._queue.set(waiting)
        self._actors.set(actors)

    def _say(self, row: ItemResult, again: bool) -> None:
        if row.error is None or self._lines < 0:
            return
        self._lines -= 1
        if self._lines < 0:
            logger.warning("more items came to nothing; the ledger and the report name them")
            return
        name = f"{row.product_id}/{row.view} in {row.gallery_id} (item {row.item_id[:12]})"
        ended = "is tried again" if again else row.status
        said, stage = row.error.message, row.error.stage
        logger.warning("%s: %s in %s: %s", name, ended, stage, said, extra=key_of(row)._asdict())


class CacheMetrics:
    """Tells from an actor how often an image was known already: what the caches are worth."""

    def __init__(self) -> None:
        """Register the figure with Ray, which must run."""
        self._images = Counter(
            "stylegallery_images_total", "Images made ready, by where they were found.", ("found",)
        )

    def take(self, found: Counts[str]) -> None:
        """Tell what was counted, and begin to count anew."""
        for place, count in found.items():
            self._images.inc(count, tags={"found": place})
        found.clear()
