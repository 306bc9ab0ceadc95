"""Cache of adapters, limited in bytes."""

from collections import OrderedDict
from collections.abc import Callable

from stylegallery.adapters.adapter import Adapter

BUDGET = 256 * 2**20


class AdapterCache:
    """Learnt styles by their keys; the least recently used is evicted first."""

    def __init__(self, budget: int = BUDGET) -> None:
        """Keep at most `budget` bytes, but always the last adapter."""
        self._budget = budget
        self._entries: OrderedDict[str, Adapter] = OrderedDict()

    def get(self, key: str, make: Callable[[], Adapter]) -> Adapter:
        """Return the adapter of `key`; if there is none, make and keep it."""
        if key not in self._entries:
            self._entries[key] = make()
        self._entries.move_to_end(key)
        while len(self._entries) > 1 and self._nbytes() > self._budget:
            self._entries.popitem(last=False)
        return self._entries[key]

    def _nbytes(self) -> int:
        return sum(adapter.nbytes for adapter in self._entries.values())
