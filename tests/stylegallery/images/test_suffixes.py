"""The one list of image endings, against what Pillow opens."""

from PIL import Image

from stylegallery.images.opening import FORMATS
from stylegallery.images.suffixes import IMAGE_SUFFIXES, UNREAD_SUFFIXES

NO_PILLOW_NAME = {".pjp", ".pjpeg"}
"""JPEGs as some browsers save them."""


def test_every_ending_is_of_a_format_that_the_engine_opens() -> None:
    known = Image.registered_extensions()
    assert {known[name] for name in IMAGE_SUFFIXES if name not in NO_PILLOW_NAME} == {
        *FORMATS,
        "MPO",  # opened as JPEG
    }
    others = {name for name, form in known.items() if form in FORMATS} - set(IMAGE_SUFFIXES)
    assert others <= {".apng", ".avifs"}  # animated
    assert not UNREAD_SUFFIXES & set(IMAGE_SUFFIXES)
