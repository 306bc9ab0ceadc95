"""The energies against a replica of attention distillation, and on coarse grids."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from schemas.methods import Method
from schemas.params import StyleParams
from stylegallery import PreparedImage, StyleGallery
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.guidance.energies import style_target
from stylegallery.guidance.guidance import Guidance
from stylegallery.guidance.region_attention import Router
from stylegallery.matching.correspondence import Correspondence, hard_log_weights
from stylegallery.methods.stylegallery_paper import PublishedGuidance
from stylegallery.models.attention import style_layers
from stylegallery.models.diffusion import Models
from stylegallery.models.vae import decode
from stylegallery.regions.region_map import RegionMap
from stylegallery.types import StyleJob
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
PLAIN = {
    "sampler": "optimise",
    "image_size": 64,
    "inversion_steps": 2,
    "start_noise": 0.0,
    "texture": 0.0,
    "match_tone": False,
    "settle_timestep": 0,
}
Projected = dict[str, tuple[Tensor, Tensor, Tensor]]


@pytest.fixture(scope="module")
def pair(engine: StyleGallery) -> tuple[PreparedImage, PreparedImage]:
    """A photo and a reference of another shape, each one region."""
    whole = StyleParams(method="attention-distillation", **PLAIN)
    return (
        engine.prepare(figure_on_ground(72, 64, RED, BLUE), whole),
        engine.prepare(figure_on_ground(64, 96, GREEN, RED, seed=2), whole),
    )


def projected(models: Models, latent: Tensor, timestep: int) -> Projected:
    """What the style layers' projections give, read by hooks instead of processors."""
    found: Projected = {}
    hooks = []
    for name in style_layers(models.unet):
        attention = models.unet.get_submodule(name)

        def keep(module: torch.nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            found[name] = tuple(  # type: ignore[assignment]
                to(inputs[0]).unflatten(-1, (module.heads, -1)).transpose(1, 2)  # type: ignore
                for to in (module.to_q, module.to_k, module.to_v)  # type: ignore[operator]
            )

        hooks.append(attention.register_forward_pre_hook(keep))
    models.denoise(latent, timestep)
    for hook in hooks:
        hook.remove()
    return found


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1) @ value


def distillation(
    models: Models, latent: Tensor, content: Tensor, style: Tensor, timestep: int
) -> tuple[Tensor, Tensor]:
    """Attention distillation's two losses, as its paper writes them down."""
    now = projected(models, latent, timestep)
    with torch.no_grad():
        own, other = (projected(models, image, timestep) for image in (content, style))
    pull = [
        (attention(*now[n]) - attention(now[n][0], *other[n][1:]).detach()).abs().mean()
        for n in now
    ]
    return sum(pull), sum((now[n][0] - own[n][0]).abs().mean() for n in now)  # type: ignore


@pytest.mark.parametrize("method", ["attention-distillation", "stylegallery"])
@pytest.mark.parametrize("routing", ["soft", "hard"])
def test_one_region_and_one_reference_are_attention_distillation(
    engine: StyleGallery, pair: tuple[PreparedImage, PreparedImage], method: Method, routing: str
) -> None:
    content, style = pair
    params = StyleParams(method=method, routing=routing, attention_scale=1.0, steps=2, **PLAIN)
    found = engine.match(content, [style], params)
    noise = torch.randn(content.latent.shape, generator=torch.Generator().manual_seed(1))
    cache = AttentionCache()
    for start in (content.latent, content.latent + 0.1 * noise):
        latent, twin = start.clone().requires_grad_(), start.clone().requires_grad_()
        with Guidance.recording(
            engine.models, [StyleJob(content, [style], found)], params, cache
        ) as guidance:
            pull, kept = guidance.energies(latent, 301)
        expected = distillation(engine.models, twin, content.latent, style.latent, 301)
        assert torch.allclose(torch.cat([pull, kept]), torch.stack(expected), atol=1e-6)
        (pull + 0.25 * kept).backward()
        (expected[0] + 0.25 * expected[1]).backward()
        assert latent.grad is not None
        assert twin.grad is not None
        # a difference of zero takes either sign, so a few cells may differ at the clean start
        assert (
            torch.nn.functional.cosine_similarity(latent.grad.flatten(), twin.grad.flatten(), dim=0)
            > 1 - 1e-4
        )


def test_the_optimiser_starts_from_these_energies(
    engine: StyleGallery, pair: tuple[PreparedImage, PreparedImage]
) -> None:
    content, style = pair
    params = StyleParams(method="attention-distillation", attention_scale=1.0, steps=2, **PLAIN)
    found = engine.match(content, [style], params)
    first = engine.stylize(content, [style], found, params).trace[0]
    pull, kept = distillation(
        engine.models, content.latent, content.latent, style.latent, first.timestep
    )
    assert first.style_loss == pytest.approx(float(pull), abs=1e-5)
    assert first.content_loss == pytest.approx(float(kept), abs=1e-5)


@pytest.mark.parametrize("method", ["attention-distillation", "stylegallery"])
def test_an_image_in_its_own_style_stays_as_it_is(engine: StyleGallery, method: Method) -> None:
    params = StyleParams(method=method, routing="hard", steps=4, attention_scale=1.0, **PLAIN)
    picture = figure_on_ground(72, 64, RED, BLUE)
    content = engine.prepare(picture, params)
    still = decode(engine.models, content.latent)
    moved = []
    for style in (content, engine.prepare(figure_on_ground(64, 96, GREEN, RED, seed=2), params)):
        found = engine.match(content, [style], params)
        made = engine.stylize(content, [style], found, params)
        moved.append((made.trace[0].style_loss, (made.picture.pixels - still).abs().mean()))
    assert moved[0][0] < 0.1 * moved[1][0]
    assert moved[0][1] < 0.5 * moved[1][1]


def dotted(image: PreparedImage, row: int, column: int) -> PreparedImage:
    """The image with two regions, one of a single cell that nearest neighbour would skip."""
    labels = torch.zeros(image.latent.shape[-2:], dtype=torch.int64)
    labels[row, column] = 1
    return replace(image, regions=RegionMap(labels))


def crossed() -> Correspondence:
    """Each of two content regions matched to the other one of the reference."""
    best, none = torch.tensor([1, 0]), torch.zeros(2)
    return Correspondence(
        log_weights=hard_log_weights(best, 2), log_prior=none, style_regions=(2,), best=best,
        scores=torch.zeros(2, 4), fallback=("none", "none"), pinned=none.bool(), area=none,
        centroid=torch.zeros(2, 2),
    )  # fmt: skip


@pytest.mark.parametrize(("share", "led"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_regions_lead_in_their_share_of_the_steps(
    engine: StyleGallery, pair: tuple[PreparedImage, PreparedImage], share: float, led: int
) -> None:
    """From noisy to clean; then each may take from all that it is not forbidden."""
    content, style = dotted(pair[0], 4, 4), dotted(pair[1], 4, 6)
    table = torch.tensor([[0.0, 5.0], [0.0, -torch.inf]])
    routed = replace(crossed(), log_weights=table)
    opened = replace(crossed(), log_weights=table.clamp(max=0))
    params = StyleParams(steps=4, routing_share=share, **PLAIN)
    pulls = []
    for routing in (routed, opened):
        with Guidance.recording(
            engine.models, [StyleJob(content, [style], routing)], params, AttentionCache()
        ) as guidance:
            visited = engine.models.timesteps(params.steps, params.optimise.schedule)
            pulls.append([guidance.energies(content.latent, t)[0].item() for t in visited])
    same = [one == pytest.approx(other, rel=1e-6) for one, other in zip(*pulls, strict=True)]
    assert same == [step >= led for step in range(4)]


@pytest.mark.parametrize("kind", [Guidance, PublishedGuidance])
def test_a_region_of_one_cell_keeps_its_target_at_the_coarse_grid(
    engine: StyleGallery, pair: tuple[PreparedImage, PreparedImage], kind: type[Guidance]
) -> None:
    content, style = dotted(pair[0], 1, 1), dotted(pair[1], 3, 5)
    params = StyleParams(**PLAIN)
    latent = content.latent.clone().requires_grad_()
    job = StyleJob(content, [style], crossed())
    with kind.recording(engine.models, [job], params, AttentionCache()) as guidance:
        pull, kept = guidance.energies(latent, 101)
    (pull + kept).backward()
    assert pull.isfinite()
    assert latent.grad is not None
    assert latent.grad.isfinite().all()


def test_every_query_of_a_coarse_grid_has_a_target(
    pair: tuple[PreparedImage, PreparedImage],
) -> None:
    content, style = dotted(pair[0], 1, 1), dotted(pair[1], 3, 5)
    cells = [h * w for h, w in ((5, 4), (4, 6))]  # half of 9x8 and of 8x12, rounded up
    groups = Router(StyleJob(content, [style], crossed()), torch.device("cpu")).at(
        cells[0], [cells[1]]
    )
    query, key, value = (torch.randn(1, 2, n, 8) for n in (cells[0], cells[1], cells[1]))
    target = style_target(query, key, value, torch.zeros_like(query), groups, 1.5)
    assert target.isfinite().all()
    assert target.abs().amax(dim=(0, 1, 3)).min() > 0
