"""Text that a result keeps: what a reader of characters reads before and after.

The reader is PP-OCR inside the package `rapidocr` (Apache-2.0, models in its wheel).
"""

from dataclasses import dataclass
from difflib import SequenceMatcher
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from stylegallery.errors import ModelNotFound
from stylegallery.images.codec import to_bytes

LEAST_SCORE = 0.8
"""Confidence from which a line of the original counts as legible."""
LEAST_STEADY = 0.8
"""Share of a line's characters that are read again when the picture moves by a pixel."""
LEAST_CHARACTERS = 3
"""Letters and digits of a line that counts; shorter ones are often folds and buttons."""


@dataclass(frozen=True)
class TextLine:
    """A line of text in a picture.

    Attributes:
        characters: Its letters and digits, in lower case.
        score: Confidence of the reader, 0 to 1.
        box: Left, top, right and bottom in pixels.
    """

    characters: str
    score: float
    box: tuple[float, float, float, float]

    @property
    def is_legible(self) -> bool:
        """Whether an original with this line is one that carries text."""
        return self.score >= LEAST_SCORE and len(self.characters) >= LEAST_CHARACTERS


class TextReader:
    """Reads the text of pictures."""

    def __init__(self) -> None:
        """Load the networks.

        Raises:
            ModelNotFound: the extra `benchmarks` is not installed.
        """
        if not is_installed():
            raise ModelNotFound(
                "reading text needs the extra `benchmarks`; install it with "
                "`pip install 'stylegallery[benchmarks]'`."
            )
        from rapidocr import RapidOCR

        threads = {
            "EngineConfig.onnxruntime.intra_op_num_threads": torch.get_num_threads(),
            "Global.log_level": "error",
        }
        self._read: Any = RapidOCR(params=threads)

    def lines(self, pixels: Tensor) -> list[TextLine]:
        """Return the lines of a picture (1, 3, H, W) in [0, 1]; there may be none."""
        blue_first = to_bytes(pixels).flip(0).permute(1, 2, 0).contiguous().numpy()
        found = self._read(blue_first)
        if not found.txts:
            return []
        lines = []
        for text, score, box in zip(found.txts, found.scores, found.boxes, strict=True):
            (left, top), (right, bottom) = (map(float, corner(0)) for corner in (box.min, box.max))
            plain = "".join(filter(str.isalnum, text.lower()))
            lines.append(TextLine(plain, float(score), (left, top, right, bottom)))
        return lines

    def steady_lines(self, pixels: Tensor) -> list[TextLine]:
        """Return the lines of an original (1, 3, H, W) in [0, 1] that are not read by luck.

        Those are the lines that are read alike when the picture moves by a pixel. The reader loses
        two thirds of ornate letters for that, which is no fault of a result.
        """
        moved = self.lines(pixels.roll((1, 1), (2, 3)))
        return [
            line
            for line in self.lines(pixels)
            if _kept(line, moved) >= LEAST_STEADY * len(line.characters)
        ]


def text_kept(before: list[TextLine], after: list[TextLine]) -> float | None:
    """Return the share of the original's characters that can be read in the result, 0 to 1.

    Each legible line of the original is compared with all that is read at its place in the result,
    from left to right: the characters of matching blocks count, in order.

    Args:
        before: Steady lines of the original.
        after: Lines of the result, of the same size.

    Returns:
        The share; None if the original has no legible text.
    """
    legible = [line for line in before if line.is_legible]
    if not legible:
        return None
    kept = sum(_kept(line, after) for line in legible)
    return kept / sum(len(line.characters) for line in legible)


def is_installed() -> bool:
    """Whether the packages of the reader are there."""
    return all(find_spec(name) is not None for name in ("onnxruntime", "rapidocr"))


def _kept(line: TextLine, others: list[TextLine]) -> int:
    """Return how many characters of a line are read at its place: where a middle lies in a box."""
    found = [o for o in others if _holds(line.box, o.box) or _holds(o.box, line.box)]
    read = "".join(other.characters for other in sorted(found, key=lambda other: other.box[0]))
    blocks = SequenceMatcher(None, line.characters, read, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks)


def _holds(
    box: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    across, down = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return box[0] <= across <= box[2] and box[1] <= down <= box[3]
