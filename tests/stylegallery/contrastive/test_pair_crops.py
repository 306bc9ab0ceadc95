"""Both sides of a pair are seen at the same places, with the same noise."""

import torch

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.adapters.recipe import recipe_for
from stylegallery.contrastive.design import DesignPair
from stylegallery.contrastive.pair_crops import PairCrops
from tests.stylegallery.contrastive.cloth import blocks, woven


def test_crops_of_equal_pictures_are_equal(engine: StyleGallery) -> None:
    alpha = torch.ones(1, 1, 96, 112)
    alpha[..., :40] = 0
    pictures = [Picture(woven(amount=amount).pixels, alpha) for amount in (0.1, 0.2)]
    recipe = recipe_for(engine.models, StyleParams(image_size=64))
    crops = PairCrops(engine.models, [DesignPair(one, one) for one in pictures], recipe)
    generator = torch.Generator().manual_seed(3)
    drawn = [crops.draw(generator, 4, 800) for _ in range(3)]
    for batch in drawn:
        assert torch.equal(batch.textured, batch.designs)
        assert batch.opacity.shape == (4, 1, 6, 6)
        assert batch.noise.shape == batch.textured.shape == (4, 4, 6, 6)
        assert batch.timesteps.max() < 800
    assert not torch.equal(drawn[0].textured, drawn[1].textured)
    assert not torch.equal(drawn[0].noise, drawn[1].noise)


def test_the_sides_of_a_pair_are_not_exchanged(engine: StyleGallery) -> None:
    recipe = recipe_for(engine.models, StyleParams(image_size=64))
    pair = DesignPair(Picture(torch.zeros(1, 3, 96, 112)), Picture(blocks()))
    batch = PairCrops(engine.models, [pair], recipe).draw(torch.Generator(), 2, 800)
    black = PairCrops(engine.models, [DesignPair(pair.textured, pair.textured)], recipe)
    assert torch.equal(batch.textured, black.draw(torch.Generator(), 2, 800).textured)
    assert not torch.allclose(batch.designs, batch.textured, atol=0.01)
