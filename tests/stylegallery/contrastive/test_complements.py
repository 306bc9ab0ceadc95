"""Other things in the learnt style: which are made, and which are taken."""

import torch

from schemas.params import StyleParams
from stylegallery import StyleGallery
from stylegallery.contrastive import complements
from stylegallery.contrastive.complements import Candidate, complementary_pairs, selected
from stylegallery.contrastive.design import DesignPair, design_pair
from stylegallery.images.bundled import bundled_photos
from tests.stylegallery.contrastive.cloth import woven

BLOCKS = ["up_blocks.1.attentions.0", "up_blocks.2.attentions.1"]


def test_of_the_half_with_the_texture_the_least_similar_designs_are_taken() -> None:
    pair = DesignPair(woven(), woven())
    values = [(0.9, 0.5), (0.8, 0.1), (0.7, 0.3), (0.6, 0.0), (0.5, 0.2), (0.4, -1.0)]
    made = [Candidate(pair, *value) for value in values]
    for order in (made, made[::-1]):
        assert [(one.texture, one.shape) for one in selected(order)] == [(0.8, 0.1), (0.7, 0.3)]


def test_pairs_are_restyled_photos_of_the_working_size(engine: StyleGallery) -> None:
    reference = design_pair(woven(), None, 64, "silk.png")
    params = StyleParams(method="contrastive-lora", image_size=64, adapter_rank=2)
    adapter = engine.learn(
        [reference.textured],
        params.model_copy(
            update={"adapter_steps": 3, "adapter_rate": 0.05, "contrast_weight": 0.0}
        ),
    )
    made = complementary_pairs(engine.models, reference, adapter, BLOCKS, (64, 72))
    assert len(made) == 2
    assert not torch.equal(made[0].design.pixels, made[1].design.pixels)
    for pair in made:
        assert pair.textured.size == pair.design.size == (64, 72)
        assert not torch.allclose(pair.textured.pixels, pair.design.pixels, atol=0.05)
    again = complementary_pairs(engine.models, reference, adapter, BLOCKS, (64, 72))
    for one, two in zip(made, again, strict=True):
        assert torch.equal(one.textured.pixels, two.textured.pixels)


def test_photos_are_cut_to_the_aspect_of_the_reference() -> None:
    pixels = torch.arange(12.0).expand(1, 3, 6, 12) / 12
    for size in ((6, 6), (3, 3), (12, 8), (4, 16)):
        cut = complements.center_crop(pixels, size)
        assert cut.shape[-2:] == size
        assert torch.allclose(cut.mean(), pixels.mean(), atol=0.02)  # the middle


def test_the_bundled_photos_are_there() -> None:
    assert all(path.is_file() for path in bundled_photos())
    assert len(set(bundled_photos())) == 6
