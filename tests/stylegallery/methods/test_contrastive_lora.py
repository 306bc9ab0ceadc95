"""The method contrastive-lora as a whole, on the tiny model."""

import pytest
import torch

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.adapters.adapter import Adapter, read_adapter
from stylegallery.color.lab import rgb_to_lab
from stylegallery.errors import BadReferences
from tests.stylegallery.conftest import figure_on_ground
from tests.stylegallery.contrastive.cloth import blocks, woven

PARAMS = StyleParams(
    method="contrastive-lora",
    image_size=64,
    white_ground="restyle",
    detail=0.0,
    adapter_rank=2,
    adapter_steps=4,
    adapter_rate=0.05,
)
RED, BLUE = (0.7, 0.3, 0.3), (0.3, 0.4, 0.7)


@pytest.fixture(scope="module")
def adapter(engine: StyleGallery) -> Adapter:
    return engine.learn([woven()], PARAMS)


def restyled(engine: StyleGallery, adapter: Adapter | None, **changes: object) -> torch.Tensor:
    params = PARAMS.model_copy(update=changes)
    content = engine.prepare(figure_on_ground(80, 64, RED, BLUE), params)
    style = engine.prepare(woven(), params)
    routing = engine.match(content, [style], params)
    adapters = () if adapter is None else (adapter,)
    return engine.stylize(content, [style], routing, params, adapters=adapters).picture.pixels


def test_the_engine_learns_in_place_what_it_is_given_otherwise(
    engine: StyleGallery, adapter: Adapter
) -> None:
    fresh = StyleGallery(engine.models, engine.encoder)
    assert torch.equal(restyled(fresh, None), restyled(engine, adapter))


def test_an_item_is_inverted_and_denoised_and_keeps_the_photos_colors(
    engine: StyleGallery, adapter: Adapter, calls: list[int]
) -> None:
    made = restyled(engine, adapter)
    assert calls == [1] * 16
    photo = figure_on_ground(80, 64, RED, BLUE).pixels
    assert (rgb_to_lab(made)[:, 0] - rgb_to_lab(photo)[:, 0]).abs().mean() > 1
    inside = ((made > 0.01) & (made < 0.99)).all(dim=1)[0]  # elsewhere the gamut takes chroma
    chroma = (rgb_to_lab(made) - rgb_to_lab(photo))[0, 1:, inside].abs()
    assert chroma.median() < 0.5


def test_the_users_design_decides_what_is_learnt(engine: StyleGallery, adapter: Adapter) -> None:
    given = engine.learn([woven()], PARAMS, design=Picture(blocks()))
    assert given.to_bytes() != adapter.to_bytes()
    with pytest.raises(BadReferences, match=r"no texture of silk\.png can be told"):
        engine.learn([woven()], PARAMS, design=woven(), names=["silk.png"])


def test_the_file_keeps_which_blocks_were_chosen(engine: StyleGallery, adapter: Adapter) -> None:
    back = read_adapter(adapter.to_bytes(), engine.models.unet, "silk.safetensors")
    assert back.notes["style_blocks"] == adapter.notes["style_blocks"]
    assert set(back.notes["similarities"]) >= set(back.notes["style_blocks"])
    assert back.factors.keys() == adapter.factors.keys()


def test_only_the_learnt_change_restyles(engine: StyleGallery, adapter: Adapter) -> None:
    plain = restyled(engine, adapter, adapter_scale=0.0)
    assert (restyled(engine, adapter) - plain).abs().mean() > 1e-3
    empty = Adapter({name: (down, 0 * up) for name, (down, up) in adapter.factors.items()})
    assert torch.equal(restyled(engine, empty), plain)
