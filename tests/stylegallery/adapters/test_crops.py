"""What is drawn of which reference."""

import torch

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.adapters.crops import Crops
from stylegallery.adapters.recipe import recipe_for
from tests.stylegallery.conftest import figure_on_ground


def reference(share: float, opacity: float = 1.0) -> Picture:
    """A picture whose left share has an opacity; the rest is clear."""
    picture = figure_on_ground(96, 120, (0.9, 0.7, 0.1), (0.1, 0.6, 0.6))
    alpha = torch.zeros(1, 1, 96, 120)
    alpha[..., : round(share * 120)] = opacity
    return Picture(picture.pixels, alpha)


def drawn(engine: StyleGallery, *references: tuple[Picture, float], count: int = 40) -> list[float]:
    """Return the mean opacity of each crop."""
    recipe = recipe_for(engine.models, StyleParams(image_size=64))
    crops = Crops(engine.models, references, recipe)
    latents, opacity = crops.draw(torch.Generator().manual_seed(0), count)
    assert latents.shape == (count, 4, 6, 6)
    assert opacity.shape == (count, 1, 6, 6)
    return opacity.mean(dim=(1, 2, 3)).tolist()


def test_crops_show_at_least_half_of_what_is_opaque(engine: StyleGallery) -> None:
    shown = drawn(engine, (reference(0.5), 1.0))
    assert min(shown) >= 0.5
    assert min(shown) < 1.0  # and reach over its border
    assert set(drawn(engine, (reference(1.0), 1.0))) == {1.0}


def test_references_are_drawn_by_their_weight(engine: StyleGallery) -> None:
    """The opacity tells which reference a crop is of."""
    faint, full = reference(1.0, 0.75), reference(1.0)
    for weights, low, high in (((1.0, 1e-9), 40, 40), ((3.0, 1.0), 22, 38), ((1.0, 1.0), 12, 28)):
        of_full = drawn(engine, (full, weights[0]), (faint, weights[1])).count(1.0)
        assert low <= of_full <= high
