"""Recording changes nothing; gathered regions are exact masks."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from stylegallery import StyleGallery
from stylegallery.errors import UnsupportedModel
from stylegallery.guidance.energies import (
    Indices,
    RegionAttention,
    content_energy,
    style_energy,
    style_target,
)
from stylegallery.models.attention import capture_layers, grid_size, record_attention, style_layers
from stylegallery.models.inversion import inversion_features, timestep_weights


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_recording_leaves_the_unet_as_it_was(engine: StyleGallery) -> None:
    unet = engine.models.unet
    latent = random(1, 4, 8, 11)
    before = dict(unet.attn_processors)
    plain = engine.models.denoise(latent, 300)
    layers = style_layers(unet)
    with record_attention(unet, layers) as record:
        recorded = engine.models.denoise(latent, 300)
    assert torch.allclose(plain, recorded, atol=1e-5)
    assert unet.attn_processors == before
    assert list(record.layers) == layers
    assert len(layers) == 4
    assert all(name.startswith(("up_blocks.2", "up_blocks.3")) for name in layers)
    shapes = {tuple(layer.query.shape[1:3]) for layer in record.layers.values()}
    assert shapes == {(4, 4 * 6), (4, 8 * 11)}


def test_a_look_sees_the_same_and_leaves_the_rest_of_the_unet_alone(engine: StyleGallery) -> None:
    models, names = engine.models, style_layers(engine.models.unet)
    whole, looked = (random(1, 4, 8, 11).requires_grad_() for _ in range(2))
    ends: list[None] = []
    hook = models.unet.conv_out.register_forward_pre_hook(lambda *_: ends.append(None))
    with record_attention(models.unet, names) as record:
        models.denoise(whole, 300)
        expected = dict(record.layers)
        assert len(ends) == 1
        found = capture_layers(record, lambda: models.denoise(looked, 300))
        assert len(ends) == 1
        models.denoise(looked.detach(), 300)
        assert len(ends) == 2
        with pytest.raises(RuntimeError, match="boom"):
            capture_layers(record, boom)
        models.denoise(looked.detach(), 300)
        assert len(ends) == 3
    hook.remove()
    assert list(found) == list(expected) == names
    for name, layer in found.items():
        for part in ("query", "key", "value", "output"):
            assert torch.equal(getattr(layer, part), getattr(expected[name], part))
    for latent, layers in ((whole, expected), (looked, found)):
        sum(layer.output.square().sum() for layer in layers.values()).backward()  # type: ignore
        assert latent.grad is not None
    assert torch.equal(whole.grad, looked.grad)  # type: ignore[arg-type]


def boom() -> None:
    raise RuntimeError("boom")


def test_processors_come_back_after_an_error(engine: StyleGallery) -> None:
    before = dict(engine.models.unet.attn_processors)
    with (
        pytest.raises(RuntimeError, match="boom"),
        record_attention(engine.models.unet, style_layers(engine.models.unet)),
    ):
        boom()
    assert engine.models.unet.attn_processors == before


def test_a_layer_that_is_not_there_is_named(engine: StyleGallery) -> None:
    unet = engine.models.unet
    known = style_layers(unet)
    recording = record_attention(unet, [known[0], "up_blocks.9.attn1"])
    with pytest.raises(UnsupportedModel, match=r"'up_blocks\.9\.attn1'; .* such as") as caught:
        recording.__enter__()
    assert known[0] in str(caught.value)


def test_grid_of_a_layer() -> None:
    assert grid_size(33 * 21, (33, 21)) == (33, 21)
    assert grid_size(17 * 11, (33, 21)) == (17, 11)
    with pytest.raises(ValueError, match="fit no level"):
        grid_size(100, (33, 21))


def places(chosen: Indices, count: int) -> list[int]:
    """Return which of so many queries or keys a group has chosen."""
    return list(torch.arange(count)[chosen].tolist())


def test_gathered_regions_equal_minus_infinity_masks() -> None:
    query, own = random(2, 3, 20, 8, seed=1), random(2, 3, 20, 8, seed=4)
    key, value = random(2, 3, 30, 8, seed=2), random(2, 3, 30, 8, seed=3)
    queries, keys = torch.arange(20) % 3, torch.arange(30) % 4
    table = torch.tensor(
        [[0.0, -torch.inf, 0.3, -torch.inf], [-torch.inf, 0.0, -torch.inf, -torch.inf], [0.0] * 4]
    )
    routing = RegionAttention.build(table, queries, keys)
    target = style_target(query, key, value, own, routing, 1.5)
    mask = table[queries][:, keys]
    expected = F.scaled_dot_product_attention(query * 1.5, key, value, attn_mask=mask)
    assert torch.allclose(target, expected, atol=1e-5)


def test_what_is_all_seen_is_not_gathered() -> None:
    table = torch.tensor([[0.0, 0.7], [0.2, 0.2], [0.0, -torch.inf]])
    groups = RegionAttention.build(table, torch.arange(9) % 3, torch.arange(8) % 2).groups
    assert [isinstance(seen, slice) for _, seen, _ in groups] == [True, True, False]
    assert [bias is None for _, _, bias in groups] == [False, True, True]
    alone = RegionAttention.build(torch.zeros(2, 2), torch.arange(9) % 2, torch.arange(8) % 2)
    assert alone.groups == ((slice(None), slice(None), None),)


def test_regions_that_may_see_the_same_ask_together() -> None:
    table = torch.tensor([[0.0, -torch.inf], [0.0, 0.0], [0.0, -torch.inf], [0.0, 0.0]])
    groups = RegionAttention.build(table, torch.arange(8) % 4, torch.arange(6) % 2).groups
    assert [places(asking, 8) for asking, _, _ in groups] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert [places(seen, 6) for _, seen, _ in groups] == [[0, 2, 4], [0, 1, 2, 3, 4, 5]]


def test_keys_take_turns_until_all_have_been_seen() -> None:
    table = torch.tensor([[0.0, 0.0], [1.0, 2.0], [-torch.inf, 3.0]])
    owners = torch.arange(11) % 2
    routing = RegionAttention.build(table, torch.arange(9) % 3, owners)
    shown = [routing.rotated(step, 11, 5).groups for step in range(6)]
    everything, biased, alone = (torch.arange(11), torch.arange(11), owners.nonzero()[:, 0])
    for group, keys in enumerate((everything, biased, alone)):
        seen = [places(groups[group][1], 11) for groups in shown]
        assert all(0 < len(one) <= 5 for one in seen)
        turns = -(-len(keys) // 5)
        assert sorted(itertools.chain(*seen[:turns])) == keys.tolist()
        assert all(one == seen[step % turns] for step, one in enumerate(seen))
    for asking, seen_keys, bias in (groups[1] for groups in shown):
        assert places(asking, 9) == [1, 4, 7]
        assert bias is not None
        assert torch.equal(bias, 1.0 + owners[seen_keys])
    assert all(groups[2][1] is routing.groups[2][1] for groups in shown)


def test_zero_filling_would_dilute_small_regions() -> None:
    """Masks that multiply leave foreign keys in the softmax."""
    query, key, value = (
        random(1, 1, 64, 40),
        random(1, 1, 400, 40, seed=1),
        torch.ones(1, 1, 400, 40),
    )
    seen = torch.arange(400) < 40
    table = torch.tensor([[0.0, -torch.inf]])
    routing = RegionAttention.build(table, torch.zeros(64, dtype=torch.int64), (~seen).long())
    exact = style_target(query, key, value, value[:, :, :64], routing, 1.0)
    zeroed = F.scaled_dot_product_attention(query, key * seen[:, None], value * seen[:, None])
    assert torch.allclose(exact, torch.ones_like(exact), atol=1e-5)
    assert zeroed.mean() < 0.3


def test_a_region_without_keys_keeps_the_contents_own_output() -> None:
    own = random(1, 2, 10, 4)
    table = torch.full((1, 1), -torch.inf)
    routing = RegionAttention.build(
        table, torch.zeros(10, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)
    )
    key = random(1, 2, 5, 4)
    target = style_target(random(1, 2, 10, 4, seed=2), key, key, own, routing, 1.5)
    assert torch.equal(target, own)


def test_energies_vanish_at_the_target() -> None:
    here, there = random(1, 2, 10, 4), random(1, 2, 10, 4, seed=9)
    for energy in (style_energy, content_energy):
        assert energy(here, here) == 0
        assert energy(here, there) > 0


def test_timestep_weights_fall_as_published() -> None:
    weights = timestep_weights(15)
    assert abs(float(weights.sum()) - 1) < 1e-6
    assert abs(float(weights[0]) - 0.094) < 1e-3
    assert abs(float(weights[-1]) - 0.023) < 1e-3
    assert (weights.diff() < 0).all()


def test_inversion_follows_the_ddim_equation(
    engine: StyleGallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, torch.Tensor]] = []
    denoise: Callable[[torch.Tensor, int], torch.Tensor] = engine.models.denoise

    def spy(_self: object, latent: torch.Tensor, timestep: int) -> torch.Tensor:
        seen.append((timestep, latent.clone()))
        return denoise(latent, timestep)

    monkeypatch.setattr(type(engine.models), "denoise", spy)
    latent = random(1, 4, 8, 8)
    features = inversion_features(engine.models, latent, 5)
    assert features.shape[-2:] == (8, 8)
    alphas = engine.models.scheduler.alphas_cumprod
    for (timestep, before), (_, after) in itertools.pairwise(seen):
        alpha, previous = alphas[timestep], alphas[max(0, timestep - 200)]
        noise = denoise(before, timestep)
        expected = (before - (1 - previous).sqrt() * noise) * (alpha / previous).sqrt()
        expected = expected + (1 - alpha).sqrt() * noise
        assert torch.allclose(after, expected, atol=1e-4)
