"""Injection: which layers, what rows take from their source, and that nothing stays behind."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from schemas.engine import EngineSpec
from stylegallery import StyleGallery
from stylegallery.adapters.adapter import Adapter
from stylegallery.adapters.layers import Branch, branches, layer_names
from stylegallery.errors import UnsupportedModel
from stylegallery.models import attention
from stylegallery.models.diffusion import load_models
from stylegallery.sampling.injection import injected, injection_layers
from tests.tiny_model import write_tiny_model, write_tiny_sdxl

SOURCES = torch.tensor([0, 1, 0, 1])


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(4, 4, 8, 10, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def adapter(engine: StyleGallery) -> Adapter:
    generator = torch.Generator().manual_seed(5)
    factors = {}
    for name in layer_names(engine.models, everything=True):
        shape = engine.models.unet.get_submodule(name).weight.shape
        down = torch.randn(2, *shape[1:], generator=generator) / 2
        up = torch.randn(shape[0], 2, *(1,) * len(shape[2:]), generator=generator) / 20
        factors[name] = (down, up)
    return Adapter(factors)


@pytest.fixture
def attended(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Queries and keys with which injected layers attended."""
    seen: list[tuple[Tensor, Tensor]] = []

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen.append((query, key))
        return attention.attend(query, key, value)

    monkeypatch.setattr("stylegallery.sampling.injection.attend", attend)
    return seen


@torch.no_grad()
def prediction(engine: StyleGallery, latents: Tensor, timestep: int = 600) -> Tensor:
    return engine.models.denoise(latents, timestep)


def test_layers_are_those_of_the_published_code(tmp_path: Path) -> None:
    """With SD 1.x's blocks: eight attentions, none in the first transformer of up block 1."""
    folder = write_tiny_model(tmp_path / "sd", layers_per_block=2)
    unet = load_models(EngineSpec(model=str(folder), device="cpu", dtype="float32")).unet
    convolution, names = injection_layers(unet)
    assert convolution is unet.up_blocks[1].resnets[1].conv2
    places = [(1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)]
    assert names == [
        f"up_blocks.{block}.attentions.{number}.transformer_blocks.0.attn1"
        for block, number in places
    ]


def test_sdxl_has_them_a_block_earlier(tmp_path: Path) -> None:
    folder = write_tiny_sdxl(tmp_path / "sdxl")
    unet = load_models(EngineSpec(model=str(folder), device="cpu", dtype="float32")).unet
    convolution, names = injection_layers(unet)
    assert convolution is unet.up_blocks[0].resnets[1].conv2
    assert {name.split(".transformer")[0] for name in names} == {
        "up_blocks.0.attentions.1", "up_blocks.1.attentions.0", "up_blocks.1.attentions.1",
    }  # fmt: skip


def test_a_model_without_such_layers_is_refused() -> None:
    for unet in (
        SimpleNamespace(up_blocks=[nn.Identity()]),
        SimpleNamespace(up_blocks=[SimpleNamespace(attentions=[], resnets=[nn.Identity()])]),
    ):
        with pytest.raises(UnsupportedModel, match="no up block with self-attention and two"):
            injection_layers(unet)


def test_at_share_one_queries_and_keys_are_the_sources(
    engine: StyleGallery, latents: Tensor, attended: list[tuple[Tensor, Tensor]], adapter: Adapter
) -> None:
    unet = engine.models.unet
    _, names = injection_layers(unet)
    added = Branch(adapter.factors, torch.ones(2), torch.tensor([2, 3]))
    with branches(unet, added), injected(unet, SOURCES, True, 1.0):
        prediction(engine, latents)
    assert len(attended) == len(names)
    for query, key in attended:
        assert torch.equal(query[2:], query[:2])
        assert torch.equal(key[2:], key[:2])


def test_a_share_mixes_queries_and_keys(
    engine: StyleGallery, latents: Tensor, attended: list[tuple[Tensor, Tensor]]
) -> None:
    with injected(engine.models.unet, torch.arange(4), False, 1.0):
        prediction(engine, latents)
    plain = attended.copy()
    attended.clear()
    with injected(engine.models.unet, SOURCES, False, 0.75):
        prediction(engine, latents)
    for own, mixed in zip(plain[0], attended[0], strict=True):  # before it, all is equal
        assert torch.allclose(mixed[2:], 0.75 * own[:2] + 0.25 * own[2:], atol=1e-6)
        assert torch.equal(mixed[:2], own[:2])


def test_features_are_the_plain_models_of_the_source(
    engine: StyleGallery, latents: Tensor, adapter: Adapter
) -> None:
    """The adapter acts in that layer too, but rows take what the source has without it."""
    unet, outputs = engine.models.unet, []
    convolution, _ = injection_layers(unet)

    def keep(_layer: object, _inputs: object, output: Tensor) -> None:
        outputs.append(output)

    added = Branch(adapter.factors, torch.ones(2), torch.tensor([2, 3]))
    with branches(unet, added), injected(unet, SOURCES, True, 0.0):
        hook = convolution.register_forward_hook(keep)
        prediction(engine, latents)
        hook.remove()
    hook = convolution.register_forward_hook(keep)
    prediction(engine, latents)
    hook.remove()
    injected_output, plain = outputs
    assert torch.equal(injected_output[2:], injected_output[:2])
    assert torch.allclose(injected_output, plain[SOURCES], atol=1e-5)


def test_rows_that_are_their_own_source_keep_their_prediction(
    engine: StyleGallery, latents: Tensor
) -> None:
    plain = prediction(engine, latents)
    with injected(engine.models.unet, SOURCES, True, 1.0):
        made = prediction(engine, latents)
    assert torch.allclose(made[:2], plain[:2], atol=1e-5)
    assert not torch.allclose(made[2:], plain[2:], atol=1e-3)


def test_nothing_stays_behind(engine: StyleGallery, latents: Tensor) -> None:
    plain = prediction(engine, latents)
    processors = dict(engine.models.unet.attn_processors)
    with pytest.raises(KeyboardInterrupt), injected(engine.models.unet, SOURCES, True, 1.0):
        raise KeyboardInterrupt
    assert engine.models.unet.attn_processors == processors
    assert torch.equal(prediction(engine, latents), plain)
    with injected(engine.models.unet, SOURCES, False, 0.0):
        assert torch.equal(prediction(engine, latents), plain)


def test_adapters_act_in_injected_layers(
    engine: StyleGallery, latents: Tensor, adapter: Adapter
) -> None:
    """The published code turns them off there, because it replaces the layers' forward."""
    unet = engine.models.unet
    convolution, names = injection_layers(unet)
    inside = {n: pair for n, pair in adapter.factors.items() if n.startswith(tuple(names))}
    outside = {n: pair for n, pair in adapter.factors.items() if n not in inside}
    assert len(inside) == 4 * len(names)
    made = []
    for factors in (adapter.factors, outside):
        added = Branch(factors, torch.ones(2), torch.tensor([2, 3]))
        with branches(unet, added), injected(unet, SOURCES, True, 1.0):
            made.append(prediction(engine, latents))
    assert torch.allclose(made[0][:2], made[1][:2], atol=1e-6)  # the sources have no adapter
    assert (made[0][2:] - made[1][2:]).abs().mean() > 1e-3
