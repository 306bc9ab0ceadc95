"""The Prefect progress artifact of a run."""

import time
from uuid import UUID

from flows.runtime.outcome import notify_server_lost
from schemas.text import one_line
from tasks.execution.progress import Progress

_SECONDS_BETWEEN_UPDATES = 3.0


class ProgressArtifact:
    """A progress listener that updates an artifact in the Prefect UI.

    A Prefect server that is down or slow must not stop the run: after the first error there are
    no more updates.
    """

    def __init__(self) -> None:
        self._artifact: UUID | None = None
        self._stopped = False
        self._last_update = float("-inf")

    def __call__(self, now: Progress) -> None:
        """Update the artifact every few seconds while something is counted, and after the last."""
        if self._stopped or now.phase not in ("learning", "restyling"):
            return
        due = time.monotonic() - self._last_update >= _SECONDS_BETWEEN_UPDATES
        if due or now.done >= now.total:
            self._last_update = time.monotonic()
            self._update(now)

    def _update(self, now: Progress) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        from flows.runtime.prefect_api import without_retries

        percent = 100.0 * now.done / max(now.total, 1)
        text = f"{now.ok} ok, {now.rejected} rejected, {now.failed} failed of {now.total} items"
        if now.phase == "learning":
            text = now.learnt()
        try:
            with without_retries():
                if self._artifact is None:
                    made = create_progress_artifact(
                        percent, key="restyle-progress", description=text
                    )
                    self._artifact = made if isinstance(made, UUID) else None
                else:
                    update_progress_artifact(self._artifact, progress=percent, description=text)
        except Exception as error:
            self._stopped = True
            notify_server_lost(one_line(str(error), 200))
