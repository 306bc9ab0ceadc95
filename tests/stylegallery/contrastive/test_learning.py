"""Learning in two stages on the tiny model: what changes, what is frozen, and what is refused."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from schemas.contrastive import ContrastiveParams
from schemas.params import StyleParams
from stylegallery import StyleGallery
from stylegallery.adapters.adapter import Adapter
from stylegallery.adapters.layers import Branch, branches, merged
from stylegallery.adapters.learning import parameters
from stylegallery.adapters.recipe import Recipe, recipe_for
from stylegallery.contrastive import learning
from stylegallery.contrastive.design import DesignPair, design_pair
from stylegallery.contrastive.learning import learn_contrastive
from stylegallery.contrastive.style_blocks import layers_of_blocks
from stylegallery.errors import DidNotConverge
from stylegallery.models.lora import Factors
from stylegallery.models.prompts import Condition
from tests.stylegallery.contrastive.cloth import woven

Snapshot = Mapping[str, Factors]


@pytest.fixture(scope="module")
def pair() -> DesignPair:
    return design_pair(woven(), None, 64, "silk.png")


@pytest.fixture(scope="module")
def recipe(engine: StyleGallery) -> Recipe:
    params = StyleParams(image_size=64, adapter_rank=2, adapter_steps=4, adapter_rate=0.02)
    return recipe_for(engine.models, params)


@pytest.fixture(scope="module")
def adapter(engine: StyleGallery, pair: DesignPair, recipe: Recipe) -> Adapter:
    return learn_contrastive(engine.models, pair, recipe, ContrastiveParams())


@pytest.fixture
def training(engine: StyleGallery, pair: DesignPair, recipe: Recipe) -> learning.Training:
    blocks = ["up_blocks.1.attentions.0", "up_blocks.2.attentions.1"]
    return learning.Training(engine.models, pair, recipe, blocks, seed=0)


def values(factors: Snapshot) -> list[torch.Tensor]:
    return [factor.detach().clone() for factor in parameters(factors)]


def equal(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_only_layers_of_the_style_blocks_change(
    engine: StyleGallery, adapter: Adapter, recipe: Recipe
) -> None:
    chosen = adapter.notes["style_blocks"]
    assert len(chosen) == 4
    assert tuple(adapter.factors) == layers_of_blocks(recipe.layers, chosen)
    assert set(adapter.notes["similarities"]) > set(chosen)
    unet = engine.models.unet
    before = dict(unet.named_parameters())
    with merged(unet, adapter, 1.0):
        inside = dict(unet.named_parameters())
        changed = {name for name in before if inside[name] is not before[name]}
        assert changed == {f"{name}.weight" for name in adapter.factors}
        assert all(not torch.equal(inside[name], before[name]) for name in changed)


def test_the_content_adapter_learns_the_design_and_stays_while_the_style_learns(
    training: learning.Training,
) -> None:
    content, style = values(training.content), values(training.style)
    assert all(not up.any() for _, up in training.style.values())
    batch = training.draw(None)
    training.learn_designs(batch)
    assert not equal(values(training.content), content)
    assert equal(values(training.style), style)
    content = values(training.content)
    training.learn_textures(batch)
    assert equal(values(training.content), content)
    assert not equal(values(training.style), style)


def test_each_adapter_learns_its_side_of_the_pairs_and_others_count_less(
    training: learning.Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    one, ten = (torch.tensor(value, requires_grad=True) for value in (1.0, 10.0))

    def error(models: object, latents: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append(latents)
        return (one, ten)[len(seen) % 2 - 1]

    monkeypatch.setattr(learning, "opaque_error", error)
    batches = training.draw(training.crops)
    training.learn_designs(batches)
    training.learn_textures(batches)
    sides = [batch.designs for batch in batches] + [batch.textured for batch in batches]
    assert all(torch.equal(*both) for both in zip(seen, sides, strict=True))
    assert not torch.equal(batches[0].designs, batches[0].textured)
    assert one.grad is not None
    assert ten.grad is not None
    assert ten.grad / one.grad == pytest.approx(0.1)


def test_no_gradient_of_the_contrast_reaches_the_content_adapter(
    training: learning.Training,
) -> None:
    training.learn_textures(training.draw(None))  # the style has an effect
    content, style = values(training.content), values(training.style)
    batches = training.draw(training.crops)
    for factor in [*parameters(training.content), *parameters(training.style)]:
        factor.grad = None
    loss = training.contrast_of(batches)
    loss.backward()
    assert -2 <= float(loss.detach()) <= 2
    assert all(factor.grad is None for factor in parameters(training.content))
    assert any(up.grad is not None and up.grad.any() for _, up in training.style.values())
    training.learn_contrast(batches, 1.0)
    assert equal(values(training.content), content)
    assert not equal(values(training.style), style)


def test_without_contrast_there_is_one_stage(
    engine: StyleGallery, pair: DesignPair, recipe: Recipe, adapter: Adapter
) -> None:
    def learnt(steps: int, contrast: float) -> tuple[Adapter, list[tuple[int, int]]]:
        seen: list[tuple[int, int]] = []
        chosen = ContrastiveParams(contrast_weight=contrast)
        made = learn_contrastive(
            engine.models, pair, replace(recipe, steps=steps), chosen, 0, lambda *n: seen.append(n)
        )
        return made, seen

    plain, seen = learnt(4, 0.0)
    assert seen == [(step, 4) for step in range(1, 5)]
    both, seen = learnt(4, 1e-4)
    assert seen == [(step, 6) for step in range(1, 7)]
    assert both.to_bytes() == adapter.to_bytes()
    assert both.to_bytes() != plain.to_bytes()
    # the second stage starts from what the first has learnt
    assert not equal(values(learnt(6, 0.0)[0].factors), values(both.factors))


def test_another_seed_gives_another_style_on_the_same_blocks(
    engine: StyleGallery, pair: DesignPair, recipe: Recipe, adapter: Adapter
) -> None:
    other = learn_contrastive(engine.models, pair, recipe, ContrastiveParams(), seed=1)
    assert other.notes["style_blocks"] == adapter.notes["style_blocks"]
    assert other.to_bytes() != adapter.to_bytes()


def test_the_style_lowers_the_error_on_the_reference(
    engine: StyleGallery, training: learning.Training
) -> None:
    (batch,) = training.draw(None)

    def error() -> float:
        told = Condition(engine.models.embedding(""))
        noisy = (engine.models, batch.textured, batch.opacity, batch.noise, batch.timesteps, told)
        with branches(engine.models.unet, Branch(training.style, torch.ones(1))):
            return float(learning.opaque_error(*noisy).detach())

    before = error()
    for _ in range(20):
        training.learn_textures([batch])
    assert error() < 0.9 * before


def test_values_that_are_not_finite_are_reported(
    engine: StyleGallery, pair: DesignPair, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = learning.opaque_error
    monkeypatch.setattr(learning, "opaque_error", lambda *parts: torch.nan * real(*parts))
    with pytest.raises(DidNotConverge, match="lower adapter_rate"):
        learn_contrastive(engine.models, pair, recipe, ContrastiveParams(contrast_weight=0))
