"""Which blocks are chosen, and which layers they name."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from schemas.engine import EngineSpec
from stylegallery import StyleGallery
from stylegallery.adapters.layers import layer_names
from stylegallery.contrastive.style_blocks import (
    attention_blocks,
    block_features,
    block_similarities,
    chosen_blocks,
    layers_of_blocks,
    least_similar,
)
from stylegallery.errors import BadReferences, UnsupportedModel
from stylegallery.models.vae import encode
from tests.stylegallery.contrastive.cloth import blocks, woven
from tests.tiny_model import write_tiny_sdxl


@pytest.fixture(scope="module")
def latents(engine: StyleGallery) -> tuple[Tensor, Tensor]:
    textured, design = (
        encode(engine.models, pixels, (64, 72)) for pixels in (woven().pixels, blocks())
    )
    return textured, design


def test_all_transformer_blocks_are_found(engine: StyleGallery) -> None:
    found = attention_blocks(engine.models.unet)
    assert len(found) == len(set(found)) == 10
    assert {"down_blocks.0.attentions.0", "mid_block.attentions.0"} < set(found)


@pytest.mark.parametrize(("count", "chosen"), [(11, 4), (16, 6), (10, 4), (1, 1)])
def test_the_least_similar_third_is_chosen_in_the_order_of_the_blocks(
    count: int, chosen: int
) -> None:
    values = {f"block.{n}": math.cos(5.0 * n) for n in range(count)}
    found = least_similar(values)
    assert len(found) == chosen
    assert max(values[name] for name in found) <= min(
        (value for name, value in values.items() if name not in found), default=1
    )
    assert found == [name for name in values if name in found]


def test_pairs_differ_and_may_be_exchanged(
    engine: StyleGallery, latents: tuple[Tensor, Tensor]
) -> None:
    found = block_similarities(engine.models, *latents)
    assert list(found) == attention_blocks(engine.models.unet)
    assert all(-1 <= value < 1 - 1e-5 for value in found.values())
    assert len(set(found.values())) == len(found)
    exchanged = block_similarities(engine.models, *latents[::-1])
    assert exchanged == pytest.approx(found, abs=1e-5)
    assert least_similar(exchanged) == least_similar(found)


def test_mirrored_pairs_choose_the_same_blocks(
    engine: StyleGallery, latents: tuple[Tensor, Tensor]
) -> None:
    mirrored = [latent.flip(-1) for latent in latents]
    found = least_similar(block_similarities(engine.models, *mirrored))
    assert found == least_similar(block_similarities(engine.models, *latents))


def test_a_pair_of_equals_has_similarity_one_and_is_refused(
    engine: StyleGallery, latents: tuple[Tensor, Tensor]
) -> None:
    found = block_similarities(engine.models, latents[0], latents[0])
    assert found == pytest.approx(dict.fromkeys(found, 1.0), abs=1e-5)
    with pytest.raises(BadReferences, match="sees no difference"):
        chosen_blocks(engine.models, "", found)


def test_the_users_blocks_are_taken_or_named_in_the_error(engine: StyleGallery) -> None:
    values = {name: 0.5 for name in attention_blocks(engine.models.unet)}
    wanted = "up_blocks.1.attentions.0, mid_block.attentions.0"
    assert chosen_blocks(engine.models, wanted, values) == wanted.split(", ")
    with pytest.raises(UnsupportedModel, match=r"no block 'up\.9'; take names from down_blocks\.0"):
        chosen_blocks(engine.models, "mid_block.attentions.0,up.9", values)


def test_sdxl_has_the_published_blocks_where_the_model_has_them(
    engine: StyleGallery, tmp_path: Path
) -> None:
    published = [
        "down_blocks.1.attentions.1",
        "down_blocks.2.attentions.0",
        "up_blocks.0.attentions.1",
        "up_blocks.0.attentions.2",
    ]
    values = {name: 0.9 for name in published} | {f"other.{n}": 0.1 for n in range(7)}
    large = replace(engine.models, null_pooled=torch.zeros(1, 4))
    assert chosen_blocks(large, "", values) == published
    assert chosen_blocks(engine.models, "", values) == [f"other.{n}" for n in range(4)]
    spec = EngineSpec(model=str(write_tiny_sdxl(tmp_path)), device="cpu", dtype="float32")
    small = StyleGallery.load(spec).models
    pair = (torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16))
    found = block_similarities(small, *pair)
    assert chosen_blocks(small, "", found) == least_similar(found)


def test_layers_of_a_block_are_its_own_and_those_of_the_residual_block_before(
    engine: StyleGallery,
) -> None:
    names = layer_names(engine.models, everything=True)
    found = layers_of_blocks(names, ["up_blocks.1.attentions.0"])
    inside = ("up_blocks.1.attentions.0.", "up_blocks.1.resnets.0.")
    assert found == tuple(name for name in names if name.startswith(inside))
    assert any("attn1.to_q" in name for name in found)
    assert any("conv2" in name for name in found)
    every = layers_of_blocks(names, attention_blocks(engine.models.unet))
    assert {name for name in names if ".attentions." in name} <= set(every)


def test_features_tell_pictures_apart_and_leave_no_hook(
    engine: StyleGallery, latents: tuple[Tensor, Tensor]
) -> None:
    chosen = attention_blocks(engine.models.unet)[:2]
    one, two = (block_features(engine.models, latent, chosen) for latent in latents)
    assert torch.equal(one, block_features(engine.models, latents[0], chosen))
    assert not torch.allclose(one, two, atol=1e-3)
    assert not any(module._forward_hooks for module in engine.models.unet.modules())
