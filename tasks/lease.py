"""What passes between driver and actors: ids and URIs, never pixels."""

from dataclasses import dataclass

from schemas.engine import EngineSpec
from schemas.params import StyleParams
from schemas.result import ItemResult
from schemas.work import WorkItem
from tasks.keys import ItemKey


@dataclass(frozen=True)
class Assignment:
    """An item to be done.

    Attributes:
        item: The item.
        attempt: How often it will have been started, this time included.
        adopt: True when its asset may stand already.
    """

    item: WorkItem
    attempt: int = 1
    adopt: bool = False


@dataclass(frozen=True)
class Started:
    """An actor's word that it begins an item: if it dies now, this item is the suspect."""

    key: ItemKey


@dataclass(frozen=True)
class ActorSetup:
    """What an actor needs to know once.

    Attributes:
        engine: The model, with the device that was planned.
        params: Of the run.
        output: Absolute URI of the output root.
        run_id: The run.
        engine_fingerprint: Written into each row.
        threads: CPU threads for torch; 0 leaves it alone.
    """

    engine: EngineSpec
    params: StyleParams
    output: str
    run_id: str
    engine_fingerprint: str
    threads: int


Event = Started | ItemResult
"""What an actor streams back: a marker, then the row, for each item in turn."""
