"""One key for all that a mask has zeroed gives what the dense attention gives."""

from dataclasses import replace

import pytest
import torch

from schemas.params import StyleParams
from stylegallery import PreparedImage, StyleGallery
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.guidance.energies import style_target
from stylegallery.guidance.guidance import guide
from stylegallery.matching.correspondence import Correspondence, hard_log_weights
from stylegallery.methods import paper
from stylegallery.methods.zerofill import PublishedGuidance, ZeroFillRouter
from stylegallery.models.attention import LayerRecord
from stylegallery.regions.region_map import RegionMap
from stylegallery.types import StyleJob
from tests.benchmarks import faithful
from tests.benchmarks.faithful import DenseGuidance
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
PAPER = StyleParams.model_validate(
    {"method": "stylegallery-paper", "image_size": 64, "inversion_steps": 2, "steps": 3}
)


def labelled(image: PreparedImage, labels: torch.Tensor) -> PreparedImage:
    return replace(image, regions=RegionMap(labels))


@pytest.fixture(scope="module")
def job(engine: StyleGallery) -> StyleJob:
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
    engine: StyleGallery, job: StyleJob, cells: int, keys: tuple[int, ...]
) -> None:
    now, sharp = layer(cells, 1), 3.0
    others = [layer(tokens, 2 + k) for k, tokens in enumerate(keys)]
    seen = [(sharp * other.key, other.value + 0.5) for other in others]
    found = []
    for kind in (PublishedGuidance, DenseGuidance):
        output = now.output.clone().requires_grad_()
        with guide(engine.models, [job], PAPER, AttentionCache(), kind) as guidance:
            chosen = seen if kind is DenseGuidance else [seen[0], seen[2]]
            layers = replace(now, output=output)
            energy = guidance.style_energy(0, layers, now.output, chosen)
        energy.backward()
        assert output.grad is not None
        found.append((energy.detach(), output.grad))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5, rtol=0)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5, rtol=0)
    assert found[0][0] > 0.1


def test_the_target_is_that_of_zeroed_keys(job: StyleJob) -> None:
    """Not only their distance to one output: row by row."""
    now, other = layer(72, 1), layer(96, 2)
    single = replace(
        job,
        styles=job.styles[:1],
        routing=replace(
            job.routing,
            best=torch.tensor([2, 0, 1]),
            style_regions=(3,),
            log_weights=hard_log_weights(torch.tensor([2, 0, 1]), 3),
            log_prior=torch.zeros(3),
        ),
    )
    groups = ZeroFillRouter(single, torch.device("cpu")).at(72, [96])
    key, value = (torch.cat([p, torch.zeros(1, 3, 1, 8)], dim=2) for p in (other.key, other.value))
    found = style_target(now.query, key, value, torch.zeros_like(now.query), groups, 1.5)
    labels = job.styles[0].regions.labels.flatten()
    for region, match in enumerate((2, 0, 1)):
        rows = job.content.regions.labels.flatten() == region
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

    _, traces = faithful.optimise(engine.models, [job], PAPER, AttentionCache(0))
    monkeypatch.setattr(paper, "style_loss", refused)
    engine.stylize_batch([job], PAPER)
    for one, other in zip(ours, traces[0], strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
