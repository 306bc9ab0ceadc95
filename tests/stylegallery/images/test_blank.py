"""References that show nothing are told from those that show little."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from stylegallery.images import codec
from stylegallery.images.blank import blank_warning, blankness
from tests.stylegallery.images.color_files import colors, saved

SIDE = 200


def noise(low: int, high: int) -> Image.Image:
    values = np.random.default_rng(0).integers(low, high, (SIDE, SIDE, 3))
    return Image.fromarray(values.astype(np.uint8))


def logo(color: str, ground: str, alpha: int = 255) -> Image.Image:
    image = Image.new("RGBA", (SIDE, SIDE), ground)
    image.putalpha(alpha)
    ImageDraw.Draw(image).ellipse((60, 60, 140, 140), outline=color, width=12)
    return image


SWATCH = Image.new("RGB", (SIDE, SIDE), (46, 94, 170))
BLANK = {
    "fully transparent": Image.new("RGBA", (SIDE, SIDE), (200, 30, 30, 0)),
    "nearly black": noise(0, 6),
    "nearly white": noise(250, 256),
    "nearly white (its transparent parts count as white)": logo("white", "black", 0),
    "of one color": SWATCH,
}


@pytest.mark.parametrize("what", BLANK)
def test_blank_references(what: str) -> None:
    assert blankness(codec.decode(saved(BLANK[what], "PNG"), "x")) == what


def test_formats_and_depths_do_not_hide_it() -> None:
    assert blankness(codec.decode(saved(SWATCH, "JPEG"), "x")) == "of one color"
    assert blankness(codec.decode(saved(SWATCH.quantize(4), "GIF"), "x")) == "of one color"
    deep = Image.fromarray(np.full((SIDE, SIDE), 300, np.uint16))
    assert blankness(codec.decode(saved(deep, "PNG"), "x")) == "nearly black"
    clear = Image.new("LA", (SIDE, SIDE), (0, 0))
    assert blankness(codec.decode(saved(clear, "PNG"), "x")) == "fully transparent"
    large = Image.new("L", (1500, 900), 255)
    assert blankness(codec.decode(saved(large, "PNG"), "x")) == "nearly white"


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(colors()),
        noise(0, 60),
        noise(200, 256),
        logo("black", "white"),
        logo("green", "white", 0),
        logo("white", "black"),
    ],
    ids=["colors", "dark", "light", "ink on paper", "logo", "chalk"],
)
def test_what_shows_something_is_no_blank(image: Image.Image) -> None:
    assert blankness(codec.decode(saved(image, "PNG"), "x")) == ""


def test_the_warning_says_what_to_do() -> None:
    assert blank_warning("reference 's'", "nearly black") == (
        "reference 's' is nearly black, so it has hardly any style to give; replace it unless "
        "that is meant"
    )
