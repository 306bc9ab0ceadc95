"""Adapters on the tiny model: what is learnt, how it is kept, and how it is applied."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from schemas.engine import EngineSpec, LoraSpec
from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.adapters.adapter import Adapter, read_adapter
from stylegallery.adapters.adapter_cache import AdapterCache
from stylegallery.adapters.layers import Branch, branches, layer_names, merged
from stylegallery.errors import BadReferences, DidNotConverge, UnsupportedModel
from stylegallery.models.diffusion import load_models
from tests.stylegallery.conftest import figure_on_ground
from tests.tiny_model import write_tiny_model, write_tiny_sd21

GOLD, TEAL = (0.9, 0.7, 0.1), (0.1, 0.6, 0.6)


def settings(**chosen: object) -> StyleParams:
    learning = {"adapter_rank": 2, "adapter_steps": 3, **chosen}
    return StyleParams.model_validate({"method": "sms", "image_size": 64, "adapter": learning})


def reference(seed: int = 1, height: int = 96, width: int = 112) -> Picture:
    return figure_on_ground(height, width, GOLD, TEAL, seed)


def learnt(engine: StyleGallery, *pictures: Picture, seed: int = 0, **chosen: object) -> Adapter:
    names = [f"{place}.png" for place in range(len(pictures))]
    return engine.learn(list(pictures), settings(**chosen), names=names, seed=seed)


@pytest.fixture(scope="module")
def adapter(engine: StyleGallery) -> Adapter:
    return learnt(engine, reference(), adapter_rate=0.02, adapter_steps=20)


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(2, 4, 8, 10, generator=torch.Generator().manual_seed(3))


def prediction(engine: StyleGallery, latents: Tensor, timestep: int = 300) -> Tensor:
    with torch.no_grad():
        return engine.models.denoise(latents, timestep)


def test_learning_lowers_the_error_and_leaves_the_model_alone(
    engine: StyleGallery, adapter: Adapter, latents: Tensor
) -> None:
    weights = {name: weight.clone() for name, weight in engine.models.unet.state_dict().items()}
    again = learnt(engine, reference(), adapter_rate=0.02, adapter_steps=20)
    assert again.notes["error_after"] < again.notes["error_before"]
    assert again.notes == adapter.notes
    for name, weight in engine.models.unet.state_dict().items():
        assert torch.equal(weight, weights[name])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(engine: StyleGallery) -> None:
    first = learnt(engine, reference()).to_bytes()
    assert learnt(engine, reference()).to_bytes() == first
    assert learnt(engine, reference(), seed=1).to_bytes() != first


def test_scale_zero_is_the_model_bit_for_bit(
    engine: StyleGallery, adapter: Adapter, latents: Tensor
) -> None:
    plain = prediction(engine, latents)
    with merged(engine.models.unet, adapter, 0.0):
        assert torch.equal(prediction(engine, latents), plain)
    with branches(engine.models.unet, Branch(adapter.factors, torch.tensor([0.0, 1.0]))):
        first, second = prediction(engine, latents)
    assert torch.equal(first, plain[0])
    assert (second - plain[1]).abs().max() > 1e-3
    assert torch.equal(prediction(engine, latents), plain)  # nothing stays behind


def test_branches_equal_merged_weights(
    engine: StyleGallery, adapter: Adapter, latents: Tensor
) -> None:
    # In float64: rounding of float32 differs between processors and would hide a wrong scale.
    unet = copy.deepcopy(engine.models.unet).double()
    embedding = engine.models.null_embedding.double()
    models = replace(engine.models, unet=unet, null_embedding=embedding)
    with torch.no_grad(), merged(unet, adapter, 0.7):
        whole = models.denoise(latents, 300)
    row = Branch(adapter.factors, torch.full((2,), 0.7, dtype=torch.float64))
    half = Branch(adapter.factors, torch.full((1,), 0.35, dtype=torch.float64))
    for beside in [(row,), (half, half)]:
        with torch.no_grad(), branches(unet, *beside):
            assert torch.allclose(models.denoise(latents, 300), whole, atol=1e-6)


def test_a_branch_may_change_some_rows_alone(
    engine: StyleGallery, exact: StyleGallery, adapter: Adapter, latents: Tensor
) -> None:
    three = torch.cat([latents, latents[:1]])
    plain = prediction(engine, three)
    scales, rows = torch.tensor([1.0, 0.5]), torch.tensor([2, 0])
    with branches(engine.models.unet, Branch(adapter.factors, scales, rows)):
        assert torch.allclose(prediction(engine, three)[1], plain[1], atol=1e-5)
    with branches(exact.models.unet, Branch(adapter.factors, scales, rows)):
        some = prediction(exact, three)
    with branches(exact.models.unet, Branch(adapter.factors, torch.tensor([0.5, 0.0, 1.0]))):
        whole = prediction(exact, three)
    assert torch.allclose(some, whole, atol=1e-6)
    assert not torch.allclose(some[0], some[2], atol=1e-3)


def test_weights_are_put_back_after_an_error(engine: StyleGallery, adapter: Adapter) -> None:
    name = next(iter(adapter.factors))
    weight = engine.models.unet.get_submodule(name).weight
    with pytest.raises(KeyboardInterrupt), merged(engine.models.unet, adapter, 1.0):
        raise KeyboardInterrupt
    assert engine.models.unet.get_submodule(name).weight is weight


def test_a_file_holds_all_of_it_and_is_a_lora(
    engine: StyleGallery, adapter: Adapter, latents: Tensor, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "style.safetensors"
    file.write_bytes(adapter.to_bytes())
    back = read_adapter(file.read_bytes(), engine.models.unet, "style.safetensors")
    assert back.notes == adapter.notes
    assert back.to_bytes() == adapter.to_bytes()
    loras = (LoraSpec(weights=str(file), scale=0.5),)
    spec = EngineSpec(model=str(tiny_model), device="cpu", dtype="float32", loras=loras)
    with merged(engine.models.unet, adapter, 0.5):
        here = prediction(engine, latents)
    assert torch.equal(prediction(StyleGallery.load(spec), latents), here)


def test_an_adapter_of_another_model_names_the_layer(
    adapter: Adapter, tmp_path: Path, engine: StyleGallery
) -> None:
    narrow = write_tiny_model(tmp_path / "m", block_out_channels=(16, 32, 64, 64))
    other = load_models(EngineSpec(model=str(narrow), device="cpu", dtype="float32"))
    with pytest.raises(UnsupportedModel, match=r"another model: \S+\.\S+ is \("):
        read_adapter(adapter.to_bytes(), other.unet, "style.safetensors")
    name = next(iter(adapter.factors))
    broken = Adapter({name: (adapter.factors[name][0] * torch.inf, adapter.factors[name][1])})
    with pytest.raises(UnsupportedModel, match=r"style\.safetensors has values .* not finite"):
        read_adapter(broken.to_bytes(), engine.models.unet, "style.safetensors")
    with pytest.raises(UnsupportedModel, match=r"style\.safetensors is damaged"):
        read_adapter(adapter.to_bytes()[:-9], engine.models.unet, "style.safetensors")


def test_cross_attention_is_left_out_where_it_has_no_effect(
    engine: StyleGallery, latents: Tensor
) -> None:
    names = layer_names(engine.models, everything=True)
    assert not any("attn2" in name for name in names)
    assert any(name.endswith("conv1") for name in names)
    assert all("attn1" in name for name in layer_names(engine.models, everything=False))
    told = replace(engine.models, null_embedding=torch.ones(1, 1, 16))
    assert any("attn2" in name for name in layer_names(told, everything=False))
    unet = engine.models.unet
    plain = prediction(engine, latents)
    for name, module in unet.named_modules():
        if "attn2" in name and name.endswith(("to_q", "to_k", "to_v")):
            down = torch.ones(1, module.weight.shape[1])
            up = torch.ones(module.weight.shape[0], 1)
            with branches(unet, Branch({name: (down, up)}, torch.ones(1))):
                assert torch.equal(prediction(engine, latents), plain)


def clear(share: float) -> Picture:
    picture = reference()
    alpha = torch.zeros(1, 1, *picture.size)
    alpha[..., : round(share * picture.size[1])] = 1
    return Picture(picture.pixels, alpha)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (lambda: reference(height=64, width=120), "1.png is 120x64 px, which is too small"),
        (lambda: clear(0.2), "1.png is mostly transparent"),
        (lambda: Picture(torch.full((1, 3, 96, 96), 0.4)), "1.png is of one tone"),
    ],
)
def test_references_without_a_style_are_named(
    engine: StyleGallery, picture: Callable[[], Picture], words: str
) -> None:
    with pytest.raises(BadReferences, match=words):
        learnt(engine, reference(), picture())


def test_no_reference_and_bad_weights_are_refused(engine: StyleGallery) -> None:
    with pytest.raises(BadReferences, match="at least one reference"):
        engine.learn([], settings())
    with pytest.raises(BadReferences, match="weight of reference 0"):
        engine.learn([reference()], settings(), [0.0])


def test_the_order_of_references_does_not_matter(engine: StyleGallery) -> None:
    styles = [reference(), figure_on_ground(96, 96, TEAL, GOLD, 9)]
    first, turned = learnt(engine, *styles), learnt(engine, *styles[::-1])
    assert first.to_bytes() == turned.to_bytes()


def test_values_that_are_not_finite_are_reported(engine: StyleGallery) -> None:
    name = layer_names(engine.models, everything=True)[0]
    weight = engine.models.unet.get_submodule(name).weight
    kept = weight.clone()
    try:
        weight.fill_(torch.nan)
        with pytest.raises(DidNotConverge, match="lower adapter_rate"):
            engine.learn([reference()], settings())
    finally:
        weight.copy_(kept)


def test_every_step_is_reported(engine: StyleGallery) -> None:
    seen: list[tuple[int, int]] = []
    engine.learn([reference()], settings(), on_learn=lambda *counts: seen.append(counts))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_an_adapter_that_learnt_nothing_is_weak() -> None:
    assert Adapter({}, {"error_before": 1.0, "error_after": 0.995}).is_weak
    assert not Adapter({}, {"error_before": 1.0, "error_after": 0.98}).is_weak
    assert not Adapter({}).is_weak  # from elsewhere


def test_the_cache_keeps_what_was_used_last() -> None:
    made: list[str] = []

    def get(key: str) -> None:
        def make() -> Adapter:
            made.append(key)
            return Adapter({"layer": (torch.zeros(1, 1), torch.zeros(1, 1))})

        cache.get(key, make)

    cache = AdapterCache(budget=16)
    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert made == ["a", "b", "c", "b"]


@pytest.mark.parametrize("size", [(96, 96), (110, 300), (300, 110)])
def test_references_of_any_aspect_are_learnt(engine: StyleGallery, size: tuple[int, int]) -> None:
    assert learnt(engine, reference(1, *size)).nbytes > 0


def test_models_with_text_see_whole_images(tmp_path: Path) -> None:
    """Of velocity too: the error falls."""
    model = write_tiny_sd21(tmp_path / "sd21")
    engine = StyleGallery.load(EngineSpec(model=str(model), device="cpu", dtype="float32"))
    told = replace(engine.models, null_embedding=torch.ones_like(engine.models.null_embedding))
    engine = StyleGallery(told, engine.encoder)
    made = learnt(engine, reference(), adapter_rate=0.05, adapter_steps=30)
    assert made.notes["cells"] == 0
    assert made.notes["error_after"] < made.notes["error_before"]
