"""How far a run is, as its listeners hear it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from schemas.result import ItemResult

Phase = Literal[
    "planning",
    "starting Ray",
    "loading the engine",
    "preparing references",
    "restyling",
    "writing the results",
    "measuring",
    "building the report",
]
"""What a run does, in its order."""


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        done: Items that ended, those taken over from before included.
        total: Items of the plan.
        ok: Items with an asset.
        rejected: Items whose input is at fault.
        failed: Items that failed after retries.
        retried: Attempts that came to nothing but were followed by another.
        phase: What the run is doing.
    """

    done: int
    total: int
    ok: int = 0
    rejected: int = 0
    failed: int = 0
    retried: int = 0
    phase: Phase = "restyling"

    def with_row(self, row: ItemResult) -> "Progress":
        """Count one more row."""
        more = {row.status: getattr(self, row.status) + 1}
        return replace(self, done=self.done + 1, **more)


OnProgress = Callable[[Progress], None]
