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
        over: True when what stands in its asset's place is spoilt and is written over.
        alone: True when an actor died while it had this item and others in hand: which of them
            was to blame shows when each is done by itself.
        part: Name of the plan's file that holds it.
    """

    item: WorkItem
    attempt: int = 1
    adopt: bool = False
    over: bool = False
    alone: bool = False
    part: str = ""


@dataclass(frozen=True)
class Started:
    """An actor's word that it begins some items: if it dies now, one of them is the suspect.

    Those begun before stay in its hands until their rows are there.
    """

    keys: tuple[ItemKey, ...]


@dataclass(frozen=True)
class PreparingReferences:
    """An actor's word that references of the items it has begun are to be prepared first."""


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
        batch: How many items may share the engine's calls.
        overlap: Decode, encode and write items in threads beside the engine, which is at the next
            ones by then. Rows come later then. Not for engines on several CPU cores: another
            thread that computes opens an OpenMP pool of its own, beside which theirs sleep at
            each barrier (measured on two cores: UNet calls 1.9 times slower).
    """

    engine: EngineSpec
    params: StyleParams
    output: str
    run_id: str
    engine_fingerprint: str
    threads: int
    batch: int = 1
    overlap: bool = False


Event = Started | PreparingReferences | ItemResult
"""What an actor streams back: markers, and after its marker the row of each item, in order."""
