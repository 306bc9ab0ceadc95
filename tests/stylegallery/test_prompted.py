"""Prompts in every method and sampler: they change results, cost nothing alone, and do not mix."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from schemas.engine import EngineSpec
from schemas.params import LATER, StyleParams
from stylegallery import PreparedImage, StyleGallery, StyleJob
from stylegallery.adapters.adapter import Adapter
from stylegallery.guidance.attention_cache import AttentionCache
from tests.stylegallery.conftest import figure_on_ground
from tests.tiny_model import write_tiny_sd15, write_tiny_sdxl

SMALL: dict[str, Any] = {
    "image_size": 64, "steps": 3, "inversion_steps": 2, "max_regions": 3, "adapter_steps": 3,
    "adapter_rank": 2, "settle_timestep": 0,
}  # fmt: skip
SAMPLERS: dict[str, dict[str, Any]] = {
    "guided": LATER,
    "optimise": {"sampler": "optimise", **LATER},
    "paper": {"method": "stylegallery-paper", "sampler": "guided"},
    "distillation": {"method": "attention-distillation", "sampler": "guided"},
    "styleid": {"method": "styleid"},
    "score matching": {"method": "sms", "start_noise": 0.1},
    "noised": {"method": "sms", "passes": 2},
    "inverted": {"method": "sms", "passes": 16},
    "fused": {"method": "diffstyler"},
    "blended": {"method": "contrastive-lora", "contrast_weight": 0.0},
}
GUIDED = [name for name in SAMPLERS if name != "optimise"]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> StyleGallery:
    folder = write_tiny_sd15(Path(tmp_path_factory.mktemp("models")) / "sd15")
    return StyleGallery.load(EngineSpec(model=str(folder), device="cpu", dtype="float32"))


@pytest.fixture
def rows(told: StyleGallery, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of the batch of every UNet call from now on."""
    sizes: list[int] = []
    forward = told.models.unet.forward

    def spy(sample: Tensor, *args: object, **options: object) -> object:
        sizes.append(len(sample))
        return forward(sample, *args, **options)

    monkeypatch.setattr(told.models.unet, "forward", spy)
    return sizes


def images() -> list[Any]:
    red, blue = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)
    return [figure_on_ground(96, 104, red, blue, 1), figure_on_ground(96, 96, blue, red, 2)]


def prepared(engine: StyleGallery, params: StyleParams) -> list[PreparedImage]:
    return [engine.prepare(picture, params) for picture in images()]


def made(
    engine: StyleGallery,
    params: StyleParams,
    inputs: list[PreparedImage],
    adapter: Adapter | None = None,
) -> Tensor:
    content, style = inputs
    routing = engine.match(content, [style], params)
    adapters = () if adapter is None else (adapter,)
    return engine.stylize(content, [style], routing, params, adapters=adapters).picture.pixels


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_prompt_changes_the_result_at_no_more_calls(
    told: StyleGallery, rows: list[int], name: str
) -> None:
    plain = StyleParams(**SMALL, **SAMPLERS[name])
    inputs = prepared(told, plain)
    adapter = told.learn(images()[1:], plain)
    rows.clear()
    without = made(told, plain, inputs, adapter)
    before = list(rows)
    rows.clear()
    red = made(told, StyleParams(**SMALL, **SAMPLERS[name], prompt="red wool"), inputs, adapter)
    assert (red - without).abs().max() > 1e-3
    assert rows == before


@pytest.mark.parametrize("name", GUIDED)
def test_guidance_moves_further_in_the_same_calls(
    told: StyleGallery, rows: list[int], name: str
) -> None:
    settings = {**SMALL, **SAMPLERS[name], "prompt": "red wool"}
    alone, guided = StyleParams(**settings), StyleParams(**settings, guidance=4)
    inputs = prepared(told, alone)
    adapter = told.learn(images()[1:], alone)
    rows.clear()
    without = made(told, alone, inputs, adapter)
    before = list(rows)
    rows.clear()
    moved = made(told, guided, inputs, adapter)
    assert (moved - without).abs().max() > 1e-3
    assert len(rows) <= len(before)  # fewer where features of references are kept
    assert max(rows) == 2 * max(before) - (name == "fused")  # the content's row is shared
    other = StyleParams(**settings, guidance=4, negative_prompt="silk")
    assert (made(told, other, inputs, adapter) - moved).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["guided", "optimise"])
def test_kept_features_of_references_do_not_mix_prompts(told: StyleGallery, name: str) -> None:
    plain = StyleParams(**SMALL, **SAMPLERS[name])
    red = StyleParams(**SMALL, **SAMPLERS[name], prompt="red")
    all_of_them = [plain, red]
    if name in GUIDED:  # it uses features without guidance, and leaves none with it
        all_of_them.insert(1, StyleParams(**SMALL, **SAMPLERS[name], prompt="red", guidance=3))
    inputs = prepared(told, plain)
    warm = StyleGallery(told.models, told.encoder, cache=AttentionCache())
    for params in [*all_of_them, plain]:
        fresh = StyleGallery(told.models, told.encoder, cache=AttentionCache())
        assert torch.equal(made(warm, params, inputs), made(fresh, params, inputs))


def test_a_style_is_learnt_and_used_with_its_words(told: StyleGallery) -> None:
    settings = {**SMALL, "method": "sms", "passes": 2}
    plain, worded = StyleParams(**settings), StyleParams(**settings, style_prompt="silk")
    inputs, style = prepared(told, plain), images()[1:]
    without, learnt = told.learn(style, plain), told.learn(style, worded)
    assert learnt.notes["prompt"] == "silk"
    name = next(name for name in learnt.factors if "attn2.to_k" in name)
    assert not torch.equal(learnt.factors[name][1], without.factors[name][1])
    one, other = (made(told, params, inputs, learnt) for params in (plain, worded))
    assert (one - other).abs().max() > 1e-3
    both = StyleParams(**settings, prompt="red", style_prompt="silk")
    assert both.prompts.adapted_prompt == "red, silk"
    in_one = StyleParams(**settings, prompt="red, silk")
    assert torch.equal(made(told, both, inputs, learnt), made(told, in_one, inputs, learnt))


def test_styles_learnt_here_are_told_apart_by_their_words(told: StyleGallery) -> None:
    """The engine learns where a job brings no adapter, and keeps what it learnt."""
    engine = StyleGallery(told.models, told.encoder)
    settings = {**SMALL, "method": "sms", "passes": 1, "adapter_rate": 0.05}
    inputs = prepared(engine, StyleParams(**settings))
    worded = StyleParams(**settings, style_prompt="silk")
    made(engine, StyleParams(**settings), inputs)
    kept = made(engine, worded, inputs)
    assert torch.equal(kept, made(StyleGallery(told.models, told.encoder), worded, inputs))


def test_words_make_cross_attention_of_sdxl_learn(tmp_path: Path) -> None:
    folder = write_tiny_sdxl(tmp_path / "m")
    engine = StyleGallery.load(EngineSpec(model=str(folder), device="cpu", dtype="float32"))
    settings = {**SMALL, "method": "sms", "adapter_steps": 2}
    style = images()[1:]
    without = engine.learn(style, StyleParams(**settings))
    worded = engine.learn(style, StyleParams(**settings, style_prompt="silk"))
    assert not any("attn2" in name for name in without.factors)
    assert any("attn2" in name for name in worded.factors)
    assert without.notes["cells"] == 0
    assert (without.notes["batch"], without.notes["rate"]) == (1, 1e-4)


def test_a_batch_with_guidance_gives_what_single_items_give(told: StyleGallery) -> None:
    settings = {**SMALL, "method": "sms", "passes": 2, "prompt": "red", "guidance": 3}
    params = StyleParams(**settings)
    content, style = prepared(told, params)
    adapter = told.learn(images()[1:], params)
    routing = told.match(content, [style], params)
    jobs = [StyleJob(content, [style], routing, seed, None, (adapter,)) for seed in (1, 2)]
    both = told.sample_batch(jobs, params)
    for job, one in zip(jobs, both, strict=True):
        (alone,) = told.sample_batch([replace(job)], params)
        assert torch.allclose(one.latent, alone.latent, atol=1e-3)


@pytest.mark.parametrize("name", ["fused", "blended"])
def test_each_method_that_learns_learns_with_the_words(told: StyleGallery, name: str) -> None:
    settings = {**SMALL, **SAMPLERS[name]}
    plain, worded = StyleParams(**settings), StyleParams(**settings, style_prompt="silk")
    without, learnt = (told.learn(images()[1:], params) for params in (plain, worded))
    assert learnt.factors.keys() == without.factors.keys()
    assert any(
        not torch.equal(up, without.factors[layer][1]) for layer, (_, up) in learnt.factors.items()
    )
