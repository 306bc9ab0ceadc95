"""Text kept: counted by characters, at their place; read by the real reader where it is there."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from stylegallery.errors import ModelNotFound
from stylegallery.metrics import text
from stylegallery.metrics.text import TextLine, TextReader, text_kept
from tests.stylegallery.metrics.spoiling import blur

Box = tuple[float, float, float, float]
ABOVE, BELOW = (10.0, 10.0, 110.0, 30.0), (10.0, 50.0, 110.0, 70.0)

reads = pytest.mark.skipif(not text.is_installed(), reason="needs the extra `benchmarks`")


def line(characters: str, box: Box = ABOVE, score: float = 0.9) -> TextLine:
    return TextLine(characters, score, box)


def test_the_share_of_characters_is_counted_over_all_lines() -> None:
    before = [line("summer"), line("sale", BELOW)]
    assert text_kept(before, before) == 1
    assert text_kept(before, []) == 0
    assert text_kept(before, [line("summer")]) == 0.6
    assert text_kept(before, [line("sunner"), line("sale", BELOW)]) == 0.8


def test_characters_count_at_their_place_alone() -> None:
    assert text_kept([line("summer")], [line("summer", BELOW)]) == 0


def test_a_line_may_come_out_in_pieces_or_within_a_longer_one() -> None:
    pieces = [line("mer", (60.0, 10.0, 110.0, 30.0)), line("sum", (10.0, 10.0, 59.0, 30.0))]
    assert text_kept([line("summer")], pieces) == 1
    assert text_kept([line("sum", (10.0, 10.0, 59.0, 30.0))], [line("summer")]) == 1


def test_originals_without_legible_text_have_no_figure() -> None:
    assert text_kept([], [line("summer")]) is None
    assert text_kept([line("summer", score=0.6), line("ok")], []) is None


def printed() -> torch.Tensor:
    sheet = Image.new("RGB", (400, 300), "white")
    font = ImageFont.load_default(40)
    ImageDraw.Draw(sheet).text((60, 120), "SUMMER SALE", fill="black", font=font)
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1)[None].float() / 255


@reads
def test_print_is_read_and_is_lost_in_a_blur() -> None:
    reader = TextReader()
    before = reader.steady_lines(printed())
    assert "".join(one.characters for one in before) == "summersale"
    assert text_kept(before, reader.lines(printed())) == 1
    assert text_kept(before, reader.lines(blur(printed(), 1.0))) == 0
    assert reader.lines(torch.full((1, 3, 200, 300), 0.5)) == []


class PairReader(TextReader):
    """A fake reader that reads a picture and its moved copy as it is told."""

    def __init__(self, moved: list[TextLine], still: list[TextLine]) -> None:
        self._answers = [moved, still]

    def lines(self, pixels: torch.Tensor) -> list[TextLine]:
        return self._answers.pop(0)


def test_lines_that_a_pixel_changes_are_not_asked_for() -> None:
    still = [line("summer"), line("sale", BELOW)]
    reader = PairReader([line("sum"), line("sale", BELOW)], still)
    assert reader.steady_lines(printed()) == [line("sale", BELOW)]


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "is_installed", lambda: False)
    with pytest.raises(ModelNotFound, match=r"stylegallery\[benchmarks\]"):
        TextReader()
