"""The method `stylegallery-paper` is made of the steps of `stylegallery.methods.paper`."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from schemas.params import StyleParams
from stylegallery import PreparedImage, StyleGallery
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.guidance.energies import style_target
from stylegallery.guidance.guidance import GuidanceStep, LayerTargets
from stylegallery.matching.correspondence import Correspondence, Pin, hard_log_weights
from stylegallery.methods import paper
from stylegallery.methods.base import ImageFeatures, MatchRequest
from stylegallery.methods.stylegallery_paper import (
    PublishedGuidance,
    PublishedMethod,
    PublishedOptimiseSampler,
    ZeroMaskRouter,
)
from stylegallery.models.attention import LayerRecord, record_attention, style_layers
from stylegallery.regions.descriptors import Descriptors
from stylegallery.regions.priors import NO_PRIORS, SegmentationPriors
from stylegallery.regions.region_map import RegionMap
from stylegallery.types import StyleJob
from tests.benchmarks import faithful
from tests.benchmarks.faithful import DenseGuidance
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)


def settings(**chosen: float) -> StyleParams:
    given = {"image_size": 64, "inversion_steps": 3, "max_regions": 3, "merge_threshold": 0.0}
    return StyleParams.model_validate({"method": "stylegallery-paper", **given, **chosen})


def method(params: StyleParams) -> PublishedMethod:
    """The method without a model: neither regions nor matches ask for one."""
    models: Any = None
    return PublishedMethod(models, params, AttentionCache())


def segment(
    features: torch.Tensor,
    latent: torch.Tensor,
    params: StyleParams,
    priors: SegmentationPriors = NO_PRIORS,
) -> RegionMap:
    return method(params).segment(ImageFeatures(latent, features, torch.zeros(1, 3, 2, 2), priors))


def match(
    content: Descriptors,
    styles: list[Descriptors],
    params: StyleParams,
    weights: list[float] | None = None,
    pins: list[Pin] | None = None,
) -> Correspondence:
    return method(params).match(MatchRequest(content, styles, weights, pins))


@pytest.fixture(scope="module")
def images(engine: StyleGallery) -> list[PreparedImage]:
    """A photo and two references of other shapes, each of several regions."""
    found = [
        engine.prepare(figure_on_ground(72, 64, RED, BLUE), settings()),
        engine.prepare(figure_on_ground(64, 96, GREEN, RED, seed=2), settings()),
        engine.prepare(figure_on_ground(64, 64, BLUE, GREEN, seed=3), settings()),
    ]
    assert all(image.regions.count > 1 for image in found)
    return found


def test_the_losses_are_those_of_the_published_functions(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    content, *styles = images
    models, params = engine.models, settings()
    routing = engine.match(content, styles, params)
    latent = paper.remove_style(content.latent)
    seen = []
    with record_attention(models.unet, style_layers(models.unet)) as record, torch.no_grad():
        for shown in (latent, *(image.latent for image in images)):
            models.denoise(shown, 401)
            seen.append(dict(record.layers))
    pull = kept = torch.tensor(0.0)
    for name, layer in seen[0].items():
        kept = kept + paper.content_loss(layer.query, seen[1][name].query)
        for region, mask in enumerate(content.regions.one_hot):
            style, match = routing.locate(int(routing.best[region]))
            other = seen[2 + style][name]
            pull = pull + paper.style_loss(
                layer.query, other.key, other.value, layer.output, mask,
                styles[style].regions.one_hot[match], 1.5,
            )  # fmt: skip
    jobs = [StyleJob(content, styles, routing)]
    with PublishedGuidance.recording(models, jobs, params, AttentionCache()) as guidance:
        found = guidance.energies(latent, 401)
    assert torch.allclose(torch.cat(found), torch.stack([pull, kept]), rtol=1e-5)


def test_it_starts_at_the_inverted_content_without_its_style(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    content, *styles = images
    models, params = engine.models, settings(steps=1, learning_rate=1e-9)
    routing = engine.match(content, styles, params)
    jobs = [StyleJob(content, styles, routing)]
    (made,) = PublishedOptimiseSampler(models, params, AttentionCache()).sample(jobs)
    path = paper.invert(content.latent, lambda z, t: models.denoise(z, int(t)), models.scheduler, 3)
    assert torch.allclose(made.latent, paper.remove_style(path[-1]), atol=1e-5)
    assert made.trace[0].timestep == models.schedule(1).timesteps[0]


def test_adam_moves_every_number_by_the_learning_rate(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    content, *styles = images
    ends = []
    for rate in (1e-9, 0.05):
        params = settings(steps=1, learning_rate=rate)
        routing = engine.match(content, styles, params)
        jobs = [StyleJob(content, styles, routing)]
        sampler = PublishedOptimiseSampler(engine.models, params, AttentionCache())
        ends.append(sampler.sample(jobs)[0].latent)
    moved = (ends[1] - ends[0]).abs()
    assert moved.median() == pytest.approx(0.05, rel=1e-3)


def test_the_loss_falls(engine: StyleGallery, images: list[PreparedImage]) -> None:
    content, *styles = images
    params = settings(steps=12)
    routing = engine.match(content, styles, params)
    trace = engine.stylize(content, styles, routing, params).trace
    assert min(step.loss for step in trace[-3:]) < trace[0].loss


def blocks() -> tuple[torch.Tensor, torch.Tensor]:
    """Features of two halves, and a latent that tells them apart; 8x12 cells."""
    side = (torch.arange(12) >= 6).float().expand(8, 12)
    noise = torch.randn(16, 8, 12, generator=torch.Generator().manual_seed(0))
    features = torch.cat([side * 4 + 0.1 * noise[:8], 0.1 * noise[8:] - 4 * side])[None]
    return features, torch.stack([side * 3] * 4)[None]


def test_regions_come_from_unet_features_alone() -> None:
    features, latent = blocks()
    params = settings(merge_threshold=0.85)
    found = segment(features, latent, params)
    assert torch.equal(found.labels, (torch.arange(12) >= 6).long().expand(8, 12))
    alike = segment(features, 0.1 * latent, params)
    assert alike.count == 1


def test_labels_of_the_user_win_and_small_pieces_go() -> None:
    features, latent = blocks()
    user = torch.zeros(80, 120, dtype=torch.int64)
    user[:20, :20] = 7
    params = settings(merge_threshold=0.85)
    found = segment(features, latent, params, SegmentationPriors(user)).labels
    assert (found[:2, :2] == found[0, 0]).all()
    assert (found == found[0, 0]).sum() == 4
    coarse = settings(merge_threshold=0.85, min_region_fraction=0.5)
    features[..., 0, 0] = features[..., 0, 11]
    assert segment(features, latent, coarse).labels[0, 0] == 0


def test_depth_splits_a_region_where_it_is_given() -> None:
    features, latent = blocks()
    depth = (torch.arange(8) >= 4).float()[:, None].expand(8, 12)
    params = settings(merge_threshold=0.85)
    found = segment(features, latent, params, SegmentationPriors(depth=depth))
    assert found.count == 4


def test_segments_stand_for_features_and_depth() -> None:
    features, latent = blocks()
    segments = torch.zeros(16, 24, dtype=torch.int64)
    segments[8:, :12], segments[:8, 12:], segments[8:, 12:] = 1, 2, 5
    depth = (torch.arange(8) >= 4).float()[:, None].expand(8, 12)
    params = settings(merge_threshold=9)
    found = segment(features, latent, params, SegmentationPriors(None, depth, segments))
    # the latent tells only left from right: alike segments merge, at 0.5 and at any depth
    assert torch.equal(found.labels, (torch.arange(12) >= 6).long().expand(8, 12))
    latent[..., 4:, :] += 0.3  # 0.6 in four channels
    assert segment(features, latent, params, SegmentationPriors(segments=segments)).count == 4
    user = segments.eq(5).long()
    found = segment(features, latent, params, SegmentationPriors(user, None, segments * 0))
    assert found.count == 2


def described(semantic: list[list[float]]) -> Descriptors:
    count = len(semantic)
    return Descriptors(
        semantic=torch.tensor(semantic),
        statistical=torch.ones(count, 4),
        circle=torch.tensor([[0.5, 0.5, 0.3]]).expand(count, 3),
        area=torch.full((count,), 1 / count),
        contact=torch.ones(count),
    )


def test_each_region_takes_its_best_match_for_itself() -> None:
    content = described([[1.0, 0.1], [1.0, 0.2]])
    styles = [described([[-1.0, 0.0]]), described([[1.0, 0.3], [0.0, 1.0]])]
    found = match(content, styles, settings(min_similarity=9), weights=[100.0, 1.0])
    assert found.best.tolist() == [1, 1]  # both collapse on one, and no gate objects
    assert found.fallback == ("none", "none")
    assert found.log_weights.isfinite().tolist() == [[False, True, False]] * 2
    cosine = torch.cosine_similarity(content.semantic[0], styles[1].semantic[0], dim=0)
    assert torch.allclose(found.scores[0, 0], cosine)
    assert torch.allclose(found.scores[0, 3], cosine + 0.25 + 0.125)
    pinned = match(content, styles, settings(), pins=[Pin(1, 0, 0)])
    assert pinned.best.tolist() == [1, 0]
    assert pinned.pinned.tolist() == [False, True]


def test_all_three_terms_decide_together() -> None:
    content = described([[1.0, 0.0]])
    near, alike = described([[1.0, 0.2]]), described([[1.0, 0.1]])
    alike = replace(alike, statistical=-alike.statistical)
    found = match(content, [near, alike], settings())
    assert found.best.tolist() == [0]  # by meaning alone it would be the other
    elsewhere = replace(near, circle=torch.tensor([[0.9, 0.9, 0.05]]))
    assert match(content, [elsewhere, near], settings()).best.tolist() == [1]


def test_only_the_means_of_the_statistics_are_compared() -> None:
    one = described([[1.0, 0.0]])
    other = replace(one, statistical=torch.tensor([[1.0, 1.0, -5.0, 9.0]]))
    assert match(one, [other], settings()).scores[0, 1] == pytest.approx(1.0)


# --- One key for all keys that a mask zeroes gives what dense attention gives ---------------------

PAPER = StyleParams.model_validate(
    {"method": "stylegallery-paper", "image_size": 64, "inversion_steps": 2, "steps": 3}
)


def labelled(image: PreparedImage, labels: torch.Tensor) -> PreparedImage:
    return replace(image, regions=RegionMap(labels))


@pytest.fixture(scope="module")
def zero_masked(engine: StyleGallery) -> StyleJob:
    """Regions that cover, halve and dot the grid, one lost at the coarse grid on either side."""
    content = engine.prepare(figure_on_ground(72, 64, RED, BLUE), PAPER)
    styles = [
        engine.prepare(figure_on_ground(64, 96, GREEN, RED, seed=2), PAPER),
        engine.prepare(figure_on_ground(64, 64, BLUE, GREEN, seed=3), PAPER),
        engine.prepare(figure_on_ground(64, 80, BLUE, RED, seed=4), PAPER),
    ]
    own = torch.zeros(9, 8, dtype=torch.int64)
    own[:, 4:], own[1, 1] = 1, 2
    other = torch.zeros(8, 12, dtype=torch.int64)
    other[3:, :], other[1, 5] = 1, 2
    styles[0], styles[2] = labelled(styles[0], other), labelled(styles[2], torch.zeros_like(other))
    styles[2] = replace(styles[2], latent=styles[0].latent)
    best = torch.tensor([2, 4, 1])  # the dot; the whole of the last; more than half of the first
    none = torch.zeros(3)
    counts = (3, 1, 1)
    styles[1] = labelled(styles[1], torch.zeros(8, 8, dtype=torch.int64))
    routing = Correspondence(
        hard_log_weights(best, 5), torch.zeros(5), counts, best, torch.zeros(3, 4), ("none",) * 3,
        none.bool(), none, torch.zeros(3, 2),
    )  # fmt: skip
    return StyleJob(labelled(content, own), styles, routing)


def layer(tokens: int, seed: int) -> LayerRecord:
    generator = torch.Generator().manual_seed(seed)
    return LayerRecord(*(torch.randn(1, 3, tokens, 8, generator=generator) for _ in range(4)))


@pytest.mark.parametrize(("cells", "keys"), [(72, (96, 64, 96)), (20, (24, 16, 24))])
def test_energy_and_gradient_are_those_of_the_dense_attention(
    engine: StyleGallery, zero_masked: StyleJob, cells: int, keys: tuple[int, ...]
) -> None:
    now, sharp = layer(cells, 1), 3.0
    others = [layer(tokens, 2 + k) for k, tokens in enumerate(keys)]
    seen = [(sharp * other.key, other.value + 0.5) for other in others]
    found = []
    for kind in (PublishedGuidance, DenseGuidance):
        output = now.output.clone().requires_grad_()
        jobs = [zero_masked]
        with kind.recording(engine.models, jobs, PAPER, AttentionCache()) as guidance:
            chosen = seen if kind is DenseGuidance else [seen[0], seen[2]]
            router = guidance.route(zero_masked)
            targets = LayerTargets(router, {"layer": now}, [{"layer": pair} for pair in chosen])
            layers = replace(now, output=output)
            energy = guidance.style_energy(GuidanceStep(0, [targets]), targets, "layer", layers)
        energy.backward()
        assert output.grad is not None
        found.append((energy.detach(), output.grad))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5, rtol=0)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5, rtol=0)
    assert found[0][0] > 0.1


def test_the_target_is_that_of_zeroed_keys(zero_masked: StyleJob) -> None:
    """Not only their distance to one output: row by row."""
    now, other = layer(72, 1), layer(96, 2)
    single = replace(
        zero_masked,
        styles=zero_masked.styles[:1],
        routing=replace(
            zero_masked.routing,
            best=torch.tensor([2, 0, 1]),
            style_regions=(3,),
            log_weights=hard_log_weights(torch.tensor([2, 0, 1]), 3),
            log_prior=torch.zeros(3),
        ),
    )
    groups = ZeroMaskRouter(single, torch.device("cpu")).at(72, [96])
    key, value = (torch.cat([p, torch.zeros(1, 3, 1, 8)], dim=2) for p in (other.key, other.value))
    found = style_target(now.query, key, value, torch.zeros_like(now.query), groups, 1.5)
    labels = zero_masked.styles[0].regions.labels.flatten()
    for region, match in enumerate((2, 0, 1)):
        rows = zero_masked.content.regions.labels.flatten() == region
        mask = (labels == match).float()[:, None]
        dense = torch.nn.functional.scaled_dot_product_attention(
            1.5 * now.query, other.key * mask, other.value * mask
        )
        assert torch.allclose(found[:, :, rows], dense[:, :, rows], atol=1e-5)


def test_the_whole_method_follows_the_dense_one(
    engine: StyleGallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = engine.prepare(figure_on_ground(64, 72, RED, BLUE), PAPER)
    styles = [engine.prepare(figure_on_ground(64, 64, GREEN, RED, seed=s), PAPER) for s in (1, 2)]
    job = StyleJob(content, styles, engine.match(content, styles, PAPER))
    ours = engine.stylize_batch([job], PAPER)[0].trace

    def refused(*_: object) -> None:
        raise AssertionError("a dense attention for each region")

    (theirs,) = faithful.DenseSampler(engine.models, PAPER, AttentionCache(0)).sample([job])
    monkeypatch.setattr(paper, "style_loss", refused)
    engine.stylize_batch([job], PAPER)
    for one, other in zip(ours, theirs.trace, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
