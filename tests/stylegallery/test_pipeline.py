"""The engine as its users call it, on a tiny model through the real loaders."""

import subprocess
import sys

import pytest
import torch

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.errors import BadMask, BadReferences, DidNotConverge
from stylegallery.models.vae import working_size
from stylegallery.types import Step
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)


def restyle(
    engine: StyleGallery, picture: Picture, params: StyleParams, **options: object
) -> torch.Tensor:
    content = engine.prepare(picture, params)
    styles = [engine.prepare(figure_on_ground(70, 64, BLUE, GREEN, seed=3), params)]
    routing = engine.match(content, styles, params)
    result = engine.stylize(content, styles, routing, params, **options)
    assert result.picture.size == picture.size
    return result.picture.pixels


@pytest.mark.parametrize("size", [(80, 60), (54, 96), (64, 64), (150, 101)])
def test_any_aspect_comes_back_at_its_own_size(
    engine: StyleGallery, params: StyleParams, size: tuple[int, int]
) -> None:
    pixels = restyle(engine, figure_on_ground(*size, RED, BLUE), params)
    assert pixels.shape == (1, 3, *size)
    assert pixels.isfinite().all()
    assert pixels.min() >= 0
    assert pixels.max() <= 1


@pytest.mark.parametrize("method", ["stylegallery", "attention-distillation"])
def test_same_seed_same_pixels(engine: StyleGallery, params: StyleParams, method: str) -> None:
    chosen = params.model_copy(update={"method": method})
    picture = figure_on_ground(64, 64, RED, BLUE)
    first = restyle(engine, picture, chosen, seed=5)
    assert torch.equal(first, restyle(engine, picture, chosen, seed=5))
    assert not torch.equal(first, restyle(engine, picture, chosen, seed=6))


def test_soft_routing_of_strength_zero_is_attention_distillation(
    engine: StyleGallery, params: StyleParams
) -> None:
    picture = figure_on_ground(64, 64, RED, BLUE)
    clean = params.model_copy(update={"match_tone": False})
    soft = clean.model_copy(update={"routing_strength": 0.0})
    plain = clean.model_copy(update={"method": "attention-distillation"})
    assert torch.allclose(
        restyle(engine, picture, soft), restyle(engine, picture, plain), atol=1e-3
    )


def test_routing_decides_where_style_comes_from(engine: StyleGallery, params: StyleParams) -> None:
    picture = figure_on_ground(64, 64, RED, BLUE)
    hard = params.model_copy(update={"routing": "hard"})
    assert not torch.equal(restyle(engine, picture, hard), restyle(engine, picture, params))


def test_nothing_matched_keeps_the_content(engine: StyleGallery, params: StyleParams) -> None:
    """With fallback `content` everywhere and no start noise, the start is a fixed point."""
    kept = params.model_copy(
        update={"min_similarity": 9.0, "fallback": "content", "start_noise": 0.0, "steps": 1}
    )
    content = engine.prepare(figure_on_ground(64, 64, RED, BLUE), kept)
    routing = engine.match(content, [content], kept)
    trace = engine.stylize(content, [content], routing, kept).trace
    assert trace[0].loss < 1e-4


def test_losses_fall_and_are_reported(engine: StyleGallery, params: StyleParams) -> None:
    steps: list[Step] = []
    longer = params.model_copy(update={"steps": 12})
    content = engine.prepare(figure_on_ground(64, 64, RED, BLUE), longer)
    styles = [engine.prepare(figure_on_ground(64, 64, GREEN, RED, seed=1), longer)]
    routing = engine.match(content, styles, longer)
    result = engine.stylize(content, styles, routing, longer, on_step=steps.append)
    assert tuple(steps) == result.trace
    assert [step.index for step in steps] == list(range(12))
    assert steps[0].timestep > steps[-1].timestep
    assert min(step.style_loss for step in steps[-3:]) < steps[0].style_loss


def test_alpha_and_protected_pixels_are_kept(engine: StyleGallery, params: StyleParams) -> None:
    picture = figure_on_ground(72, 64, RED, BLUE)
    alpha = torch.ones(1, 1, 72, 64)
    alpha[..., :20] = 0
    content = engine.prepare(Picture(picture.pixels, alpha), params)
    assert (
        content.regions.labels[:, 0].unique().tolist()
        != content.regions.labels[:, -1].unique().tolist()
    )
    routing = engine.match(content, [content], params)
    protect = torch.zeros(1, 1, 72, 64)
    protect[..., 30:50, 30:50] = 1
    result = engine.stylize(content, [content], routing, params, protect=protect).picture
    assert result.alpha is not None
    assert torch.equal(result.alpha, alpha)
    inside = (..., slice(30, 50), slice(30, 50))
    assert torch.equal(result.pixels[inside], picture.pixels[inside])
    assert not torch.equal(result.pixels[..., :30, :], picture.pixels[..., :30, :])


def test_masks_of_another_size_are_refused(engine: StyleGallery, params: StyleParams) -> None:
    picture = figure_on_ground(64, 64, RED, BLUE)
    with pytest.raises(BadMask, match="10x20 px, but the image is 64x64"):
        engine.prepare(picture, params, labels=torch.ones(20, 10, dtype=torch.int64))
    content = engine.prepare(picture, params)
    routing = engine.match(content, [content], params)
    steps: list[Step] = []
    small = torch.ones(1, 1, 20, 10)
    with pytest.raises(BadMask, match="10x20 px, but the photo is 64x64"):
        engine.stylize(content, [content], routing, params, protect=small, on_step=steps.append)
    assert not steps  # it is known before the work, not after


def test_no_reference_is_refused(engine: StyleGallery, params: StyleParams) -> None:
    content = engine.prepare(figure_on_ground(64, 64, RED, BLUE), params)
    with pytest.raises(BadReferences, match="at least one reference"):
        engine.match(content, [], params)


def test_numbers_that_are_not_finite_are_reported(
    engine: StyleGallery, params: StyleParams
) -> None:
    content = engine.prepare(figure_on_ground(64, 64, RED, BLUE), params)
    routing = engine.match(content, [content], params)
    content.latent.fill_(torch.nan)
    with pytest.raises(DidNotConverge, match="not finite at step 0"):
        engine.stylize(content, [content], routing, params)


def test_working_size_keeps_the_aspect() -> None:
    assert working_size((533, 400), 256, 8) == (344, 256)
    assert working_size((100, 1000), 64, 8) == (64, 640)
    assert working_size((64, 64), 256, 8) == (256, 256)


def test_importing_the_package_is_light() -> None:
    code = "import sys, stylegallery, schemas.run; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_an_image_knows_its_bytes(engine: StyleGallery, params: StyleParams) -> None:
    picture = figure_on_ground(64, 64, RED, BLUE)
    image = engine.prepare(picture, params)
    described = image.descriptors
    floats = [image.latent, described.semantic, described.statistical, described.circle]
    count = sum(t.numel() for t in [*floats, described.area, described.contact, picture.pixels])
    assert image.nbytes == 4 * count + 8 * image.regions.labels.numel()
    clear = engine.prepare(Picture(picture.pixels, torch.ones(1, 1, 64, 64)), params)
    assert clear.nbytes == image.nbytes + 4 * 64 * 64
