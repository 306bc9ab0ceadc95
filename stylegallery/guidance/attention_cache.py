"""What attention layers see of images that stay as they are, kept for the items to come."""

from weakref import WeakKeyDictionary

from torch import Tensor

from stylegallery.types import PreparedImage

Kept = dict[str, tuple[Tensor, ...]]
"""Layer name to what is kept of its query, key, value and output, (1, heads, N, d) each."""

View = tuple[int, int]
"""A timestep, and the steps of the schedule that the image was inverted by, 0 where it is clean."""

BUDGET = 1 << 30


class AttentionCache:
    """Keys and values of references as they are shown, the image used longest ago thrown out first.

    In a catalog the same references serve thousands of products (METHOD 1.5, S1). Images are told
    apart by identity: an entry lives as long as its image, and while the budget lasts.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        """Keep at most `budget` bytes."""
        self._budget, self.nbytes = budget, 0
        self._kept: WeakKeyDictionary[PreparedImage, dict[View, Kept]] = WeakKeyDictionary()

    def get(self, image: PreparedImage, view: View) -> Kept | None:
        """Return what was put for the image shown so, or None."""
        found = self._kept.pop(image, None)
        if found is None:
            return None
        self._kept[image] = found  # the last is the one used last
        return found.get(view)

    def put(self, image: PreparedImage, view: View, kept: Kept) -> None:
        """Keep it, at the cost of images used longer ago, unless this image alone is too large."""
        self._kept.setdefault(image, {})[view] = kept
        for other in list(self._kept):
            if self._measure() <= self._budget:
                return
            if other is not image:
                del self._kept[other]
        if self._measure() > self._budget:  # one after the other would only drive each other out
            del self._kept[image][view]
            self._measure()

    def _measure(self) -> int:
        self.nbytes = sum(_nbytes(kept) for of in self._kept.values() for kept in of.values())
        return self.nbytes


def _nbytes(kept: Kept) -> int:
    return sum(t.element_size() * t.nelement() for parts in kept.values() for t in parts)
