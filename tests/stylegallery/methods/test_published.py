"""The published method: its parts are those of `stylegallery.methods.paper`, put end to end."""

from dataclasses import replace

import pytest
import torch

from schemas.params import StyleParams
from stylegallery import PreparedImage, StyleGallery
from stylegallery.guidance.attention_cache import AttentionBank
from stylegallery.guidance.guidance import guide
from stylegallery.matching.correspondence import Pin
from stylegallery.methods import paper, published
from stylegallery.methods.zerofill import PublishedGuidance
from stylegallery.models.attention import record_attention, style_layers
from stylegallery.regions.descriptors import Descriptors
from stylegallery.regions.priors import SegmentationPriors
from stylegallery.types import Job
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)


def settings(**chosen: float) -> StyleParams:
    given = {"image_size": 64, "inversion_steps": 3, "max_regions": 3, "merge_threshold": 0.0}
    return StyleParams.model_validate({"method": "stylegallery-paper", **given, **chosen})


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
    kind = PublishedGuidance
    with guide(models, [Job(content, styles, routing)], params, AttentionBank(), kind) as guidance:
        found = guidance.energies(latent, 401)
    assert torch.allclose(torch.cat(found), torch.stack([pull, kept]), rtol=1e-5)


def test_it_starts_at_the_inverted_content_without_its_style(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    content, *styles = images
    models, params = engine.models, settings(steps=1, learning_rate=1e-9)
    routing = engine.match(content, styles, params)
    jobs = [Job(content, styles, routing)]
    found, (trace,) = published.optimise(models, jobs, params, AttentionBank())
    path = paper.invert(content.latent, lambda z, t: models.denoise(z, int(t)), models.scheduler, 3)
    assert torch.allclose(found, paper.remove_style(path[-1]), atol=1e-5)
    assert trace[0].timestep == models.schedule(1).timesteps[0]


def test_adam_moves_every_number_by_the_learning_rate(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    content, *styles = images
    ends = []
    for rate in (1e-9, 0.05):
        params = settings(steps=1, learning_rate=rate)
        routing = engine.match(content, styles, params)
        jobs = [Job(content, styles, routing)]
        ends.append(published.optimise(engine.models, jobs, params, AttentionBank())[0])
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
    found = published.segment(features, torch.zeros(1, 3, 2, 2), latent, params)
    assert torch.equal(found.labels, (torch.arange(12) >= 6).long().expand(8, 12))
    alike = published.segment(features, torch.zeros(1, 3, 2, 2), 0.1 * latent, params)
    assert alike.count == 1


def test_labels_of_the_user_win_and_small_pieces_go() -> None:
    features, latent = blocks()
    user = torch.zeros(80, 120, dtype=torch.int64)
    user[:20, :20] = 7
    params = settings(merge_threshold=0.85)
    found = published.segment(features, features, latent, params, SegmentationPriors(user)).labels
    assert (found[:2, :2] == found[0, 0]).all()
    assert (found == found[0, 0]).sum() == 4
    coarse = settings(merge_threshold=0.85, min_region_fraction=0.5)
    features[..., 0, 0] = features[..., 0, 11]
    assert published.segment(features, features, latent, coarse).labels[0, 0] == 0


def test_depth_splits_a_region_where_it_is_given() -> None:
    features, latent = blocks()
    depth = (torch.arange(8) >= 4).float()[:, None].expand(8, 12)
    params = settings(merge_threshold=0.85)
    found = published.segment(features, features, latent, params, SegmentationPriors(depth=depth))
    assert found.count == 4


def test_segments_stand_for_features_and_depth() -> None:
    features, latent = blocks()
    segments = torch.zeros(16, 24, dtype=torch.int64)
    segments[8:, :12], segments[:8, 12:], segments[8:, 12:] = 1, 2, 5
    depth = (torch.arange(8) >= 4).float()[:, None].expand(8, 12)
    params = settings(merge_threshold=9)
    found = published.segment(
        features, features, latent, params, SegmentationPriors(None, depth, segments)
    )
    # the latent tells only left from right: alike segments merge, at 0.5 and at any depth
    assert torch.equal(found.labels, (torch.arange(12) >= 6).long().expand(8, 12))
    latent[..., 4:, :] += 0.3  # 0.6 in four channels
    assert (
        published.segment(
            features, features, latent, params, SegmentationPriors(segments=segments)
        ).count
        == 4
    )
    user = segments.eq(5).long()
    found = published.segment(
        features, features, latent, params, SegmentationPriors(user, None, segments * 0)
    )
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
    found = published.match(content, styles, settings(min_similarity=9), weights=[100.0, 1.0])
    assert found.best.tolist() == [1, 1]  # both collapse on one, and no gate objects
    assert found.fallback == ("none", "none")
    assert found.log_weights.isfinite().tolist() == [[False, True, False]] * 2
    cosine = torch.cosine_similarity(content.semantic[0], styles[1].semantic[0], dim=0)
    assert torch.allclose(found.scores[0, 0], cosine)
    assert torch.allclose(found.scores[0, 3], cosine + 0.25 + 0.125)
    pinned = published.match(content, styles, settings(), pins=[Pin(1, 0, 0)])
    assert pinned.best.tolist() == [1, 0]
    assert pinned.pinned.tolist() == [False, True]


def test_all_three_terms_decide_together() -> None:
    content = described([[1.0, 0.0]])
    near, alike = described([[1.0, 0.2]]), described([[1.0, 0.1]])
    alike = replace(alike, statistical=-alike.statistical)
    found = published.match(content, [near, alike], settings())
    assert found.best.tolist() == [0]  # by meaning alone it would be the other
    elsewhere = replace(near, circle=torch.tensor([[0.9, 0.9, 0.05]]))
    assert published.match(content, [elsewhere, near], settings()).best.tolist() == [1]


def test_only_the_means_of_the_statistics_are_compared() -> None:
    one = described([[1.0, 0.0]])
    other = replace(one, statistical=torch.tensor([[1.0, 1.0, -5.0, 9.0]]))
    assert published.match(one, [other], settings()).scores[0, 1] == pytest.approx(1.0)
