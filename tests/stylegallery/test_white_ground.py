"""The white ground of a packshot stays white; nothing else does."""

import pytest
import torch

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.white_ground import white_ground

GROUND, PRODUCT = slice(0, 20), slice(40, 100)


def packshot(product: tuple[float, float, float], ground: float = 1.0) -> Picture:
    """A textured square of 80 px on an even ground of 140 px."""
    pixels = torch.full((1, 3, 140, 140), ground)
    grain = 0.05 * torch.rand(3, 80, 80, generator=torch.Generator().manual_seed(0))
    pixels[0, :, 30:110, 30:110] = torch.tensor(product).view(3, 1, 1) - grain
    return Picture(pixels)


def test_a_white_ground_is_found_up_to_the_outline(
    engine: StyleGallery, params: StyleParams
) -> None:
    labels = torch.zeros(140, 140, dtype=torch.int64)
    labels[30:110, 30:110] = 1
    ground = white_ground(engine.prepare(packshot((0.7, 0.2, 0.2)), params, labels))
    assert ground is not None
    assert ground.shape == (1, 1, 140, 140)
    assert (ground[..., GROUND, GROUND] == 1).all()
    assert (ground[..., 30:110, 30:110] == 0).all(), "no pixel of the product"


def test_a_white_product_on_white_is_no_ground(engine: StyleGallery, params: StyleParams) -> None:
    labels = torch.zeros(140, 140, dtype=torch.int64)
    labels[30:110, 30:110] = 1
    white = engine.prepare(Picture(torch.ones(1, 3, 140, 140)), params, labels)
    ground = white_ground(white)
    assert ground is not None
    assert (ground[..., 60:80, 60:80] == 0).all()
    assert (ground[..., GROUND, GROUND] == 1).all()


@pytest.mark.parametrize("ground", [0.0, 0.5, 0.95])
def test_other_grounds_are_restyled(
    engine: StyleGallery, params: StyleParams, ground: float
) -> None:
    assert white_ground(engine.prepare(packshot((0.7, 0.2, 0.2), ground), params)) is None


def test_the_parameter_says_what_is_done(engine: StyleGallery, params: StyleParams) -> None:
    photo = packshot((0.7, 0.2, 0.2))
    style = engine.prepare(packshot((0.1, 0.6, 0.3), 0.3), params)
    content = engine.prepare(photo, params)
    routing = engine.match(content, [style], params)
    made = {
        choice: engine.stylize(
            content, [style], routing, params.model_copy(update={"white_ground": choice})
        ).picture.pixels
        for choice in ("keep", "restyle")
    }
    corner, inside = (..., slice(0, 8), slice(0, 8)), (..., PRODUCT, PRODUCT)
    assert (made["keep"][corner] == 1).all()
    assert not (made["restyle"][corner] == 1).all()
    assert torch.equal(made["keep"][inside], made["restyle"][inside])
