"""Messages between driver and actors: ids and URIs, never pixels."""

from dataclasses import dataclass

from schemas.engine import EngineSpec
from schemas.params import StyleParams
from schemas.result import ItemResult
from schemas.work import WorkItem
from tasks.records.item_key import ItemKey
from tasks.storage import StoragePath


@dataclass(frozen=True)
class Assignment:
    """One attempt at an item, assigned to an actor.

    Attributes:
        item: The item.
        attempt: Number of this attempt, from 1.
        recover: Look for an existing asset first, and reuse it if it is intact.
        overwrite: A damaged file occupies the asset's place; overwrite it.
        alone: Process the item by itself. Set for items that were in progress when an actor died
            and of which only one caused the death.
        part: Name of the plan file that holds the item.
    """

    item: WorkItem
    attempt: int = 1
    recover: bool = False
    overwrite: bool = False
    alone: bool = False
    part: str = ""


@dataclass(frozen=True)
class Started:
    """An actor starts these items. Items of earlier events stay in progress until their results."""

    keys: tuple[ItemKey, ...]


@dataclass(frozen=True)
class PreparingReferences:
    """An actor first prepares references of the items that it has started."""


@dataclass(frozen=True)
class ActorSetup:
    """Settings that an actor receives once, when it is created.

    Attributes:
        engine: The model and its device.
        params: Style parameters of the run.
        output: The output root.
        run_id: The run.
        engine_fingerprint: Copied into each result.
        threads: CPU threads for torch; 0 keeps torch's default.
        batch: Maximum number of items per UNet call.
        overlap: Decode, encode and write finished items in threads while the engine works on the
            next ones, so results arrive later. Off for engines on several CPU cores: a second
            computing thread opens an OpenMP pool of its own and slows UNet calls 1.9 times
            (measured on two cores).
        learning_base: From :func:`stylegallery.models.fingerprint.learning_fingerprint`, for
            methods that learn; else empty.
        refused: Galleries whose items fail, and why.
    """

    engine: EngineSpec
    params: StyleParams
    output: StoragePath
    run_id: str
    engine_fingerprint: str
    threads: int
    batch: int = 1
    overlap: bool = False
    learning_base: str = ""
    refused: tuple[tuple[str, str], ...] = ()


Event = Started | PreparingReferences | ItemResult
"""What an actor streams back: `Started` for a group of items, then their results in order."""
