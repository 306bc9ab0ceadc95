"""Form: what counts as lost, and how it is won back."""

from dataclasses import replace

import pytest
import torch
from scipy.ndimage import gaussian_filter

from schemas.params import StyleParams
from stylegallery import StyleGallery
from stylegallery.form import form_kept, keep_form, product_mask, weakened
from stylegallery.types import RestyledLatent, StyleJob
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
PHOTO = figure_on_ground(256, 320, RED, BLUE).pixels
DISC = figure_on_ground(256, 320, (1, 1, 1), (0, 0, 0)).pixels[0, 0] > 0.5


def test_form_is_kept_whole_by_the_photo_and_by_other_colors() -> None:
    assert form_kept(PHOTO, PHOTO, DISC) == pytest.approx(1.0)
    assert form_kept(PHOTO.flip(1), PHOTO, DISC) > 0.9
    assert form_kept(PHOTO[..., ::2, ::2], PHOTO, DISC) > 0.8, "pictures of any size"


def test_form_is_lost_with_outlines_or_with_contrast() -> None:
    other_place = PHOTO.roll(60, dims=3)
    noise = torch.rand(PHOTO.shape, generator=torch.Generator().manual_seed(1))
    blurred = torch.from_numpy(gaussian_filter(PHOTO.numpy(), (0, 0, 40, 40)))
    faint = PHOTO.mean() + 0.05 * (PHOTO - PHOTO.mean())
    for lost in (other_place, noise, blurred, faint):
        assert form_kept(lost, PHOTO, DISC) < 0.4
    half = PHOTO.mean() + 0.5 * (PHOTO - PHOTO.mean())
    assert 0.4 < form_kept(half, PHOTO, DISC) < 0.8


def test_a_white_product_on_white_need_not_stand_out() -> None:
    white = figure_on_ground(256, 256, (0.97, 0.97, 0.97), (1.0, 1.0, 1.0)).pixels
    disc = figure_on_ground(256, 256, (1, 1, 1), (0, 0, 0)).pixels[0, 0] > 0.5
    assert form_kept(white, white, disc) == pytest.approx(1.0)


def made(form: float) -> RestyledLatent:
    return RestyledLatent(None, torch.zeros(1), (), form=form)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("forms", "kept", "strengths"),
    [
        ((0.5,), 0.5, (1.0,)),
        ((0.3, 0.45), 0.45, (1.0, 0.6)),
        ((0.3, 0.35, 0.7), 0.7, (1.0, 0.6, 0.3)),
        ((0.3, 0.35, 0.2), 0.35, (1.0, 0.6, 0.3)),  # the best of those that all miss the floor
    ],
)
def test_attempts_end_at_the_floor(
    forms: tuple[float, ...], kept: float, strengths: tuple[float, ...]
) -> None:
    later = iter(forms[1:])
    best = keep_form(made(forms[0]), 0.4, lambda _: made(next(later)))
    assert (best.form, best.strengths) == (kept, strengths)
    assert next(later, None) is None


def test_the_engine_makes_lost_items_again_and_leaves_the_others_alone(
    engine: StyleGallery, params: StyleParams, calls: list[int]
) -> None:
    content = engine.prepare(figure_on_ground(64, 72, RED, BLUE), params)
    style = engine.prepare(figure_on_ground(64, 64, GREEN, RED, seed=1), params)
    job = StyleJob(content, [style], engine.match(content, [style], params))

    def run(floor: float) -> tuple[RestyledLatent, int]:
        calls.clear()
        changed = params.model_copy(update={"form_floor": floor})
        fresh = StyleGallery(engine.models, engine.encoder)  # nothing cached
        latent = fresh.sample_batch([job], changed)[0]
        return latent, len(calls)

    (off, cheap), (low, same), (high, dear) = run(0.0), run(0.001), run(0.999)
    assert (off.form, off.strengths) == (None, ())
    assert torch.equal(off.latent, low.latent)
    assert same == cheap
    assert low.strengths == (1.0,)
    assert high.strengths == (1.0, 0.6, 0.3)
    assert dear > cheap
    assert (high.form or 0) >= (low.form or 0)
    shown = engine.decode(high, params)
    assert (shown.form, shown.strengths) == (high.form, high.strengths)
    plain = engine.decode(replace(low, picture=None), params)
    assert torch.equal(plain.picture.pixels, engine.decode(low, params).picture.pixels)


def test_less_strength_is_less_of_everything_that_changes_form() -> None:
    params = StyleParams()
    weaker = weakened(params, 0.5)
    assert weaker.strength == params.strength / 2
    assert weaker.sizes.fine_strength == params.sizes.fine_strength / 2
    assert weaker.tones.tone_lightness == params.tones.tone_lightness / 2


def test_the_product_is_what_hardly_touches_the_border(
    engine: StyleGallery, params: StyleParams
) -> None:
    prepared = engine.prepare(figure_on_ground(64, 64, RED, BLUE), params)
    mask = product_mask(prepared.regions.labels, prepared.descriptors)
    height, width = mask.shape
    assert mask[height // 2, width // 2] or mask.all()
