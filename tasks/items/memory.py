"""What an actor keeps in memory between items: prepared images, the last used ones."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

from stylegallery.types import PreparedImage

BUDGET = 1 << 30
"""Bytes of prepared images that an actor keeps."""


PreparedKey = NewType("PreparedKey", str)
"""Which bytes were prepared, and how: see :func:`tasks.items.prepared.prepared_key`."""


@dataclass(frozen=True)
class Prepared:
    """A prepared image.

    Attributes:
        image: What the engine knows of it.
        regions_uri: Path of its region map below the output root.
        blank: How blank it is, in words; empty when it shows something.
    """

    image: PreparedImage
    regions_uri: str
    blank: str = ""


class PreparedCache:
    """Prepared images within a budget of bytes; the one unused for longest goes first."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._held: OrderedDict[PreparedKey, Prepared] = OrderedDict()
        self._bytes = 0

    def __contains__(self, key: PreparedKey) -> bool:
        return key in self._held

    def get(self, key: PreparedKey, make: Callable[[], Prepared]) -> Prepared:
        """Return what is held for `key`, or make it and hold it if the budget allows."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        made = make()
        if made.image.nbytes <= self._budget:
            self._held[key] = made
            self._bytes += made.image.nbytes
        while self._bytes > self._budget:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= oldest.image.nbytes
        return made

    def clear(self) -> None:
        """Let go of everything, when memory is short."""
        self._held.clear()
        self._bytes = 0
