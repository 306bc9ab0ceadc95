"""Cache of the references' attention keys and values, limited in bytes."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

from torch import Tensor

from stylegallery.types import PreparedImage

KeyValues = dict[str, tuple[Tensor, ...]]
"""Layer name to key and value, (1, heads, M, d) each."""

LatentKey = tuple[int, int, str]
"""A timestep, the number of steps of the inversion that the latent comes from, or 0 if it is clean,
and the prompt."""

BUDGET = 1 << 30


class AttentionCache:
    """Keys and values of references; the least recently used image is evicted first.

    The same references serve all products of a catalog. Images are compared by identity, and an
    entry is dropped with its image.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        """Keep at most `budget` bytes."""
        self._budget, self.nbytes = budget, 0
        self._entries: WeakKeyDictionary[PreparedImage, dict[LatentKey, KeyValues]] = (
            WeakKeyDictionary()
        )
        self._sizes: WeakKeyDictionary[PreparedImage, dict[int, PreparedImage]] = (
            WeakKeyDictionary()
        )

    def resized(
        self, image: PreparedImage, short_side: int, make: Callable[[], PreparedImage]
    ) -> PreparedImage:
        """Return an image at another working size, made by `make` once; it goes with the image."""
        sizes = self._sizes.setdefault(image, {})
        if short_side not in sizes:
            sizes[short_side] = make()
        return sizes[short_side]

    def get(self, image: PreparedImage, key: LatentKey) -> KeyValues | None:
        """Return the entry of an image's latent, or None."""
        found = self._entries.pop(image, None)
        if found is None:
            return None
        self._entries[image] = found  # the last entry is the most recently used
        return found.get(key)

    def put(self, image: PreparedImage, key: LatentKey, entry: KeyValues) -> None:
        """Store an entry and evict other images, unless this image alone exceeds the budget."""
        self._entries.setdefault(image, {})[key] = entry
        for other in list(self._entries):
            if self._measure() <= self._budget:
                return
            if other is not image:
                del self._entries[other]
        if self._measure() > self._budget:  # oversized entries would evict each other
            del self._entries[image][key]
            self._measure()

    def _measure(self) -> int:
        self.nbytes = sum(_nbytes(entry) for of in self._entries.values() for entry in of.values())
        return self.nbytes


def _nbytes(entry: KeyValues) -> int:
    return sum(t.element_size() * t.nelement() for parts in entry.values() for t in parts)
