"""Finer sizes: in place, without seams, in bounded memory, with the photo's own lines."""

from dataclasses import replace

import pytest
import torch
from skimage import data
from torch import Tensor

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.color.lab import luminance
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.metrics.content import edge_agreement
from stylegallery.regions.region_map import RegionMap
from stylegallery.sampling import finer, tiles
from stylegallery.sampling.finer import at_size, sample_finer
from stylegallery.types import RestyledLatent, StyleJob
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
PARAMS = StyleParams(steps=2, fine_steps=4, inversion_steps=2, max_regions=3, form_floor=0)


def job_of(engine: StyleGallery, photo: Picture, reference: Picture) -> StyleJob:
    content, style = (engine.prepare(picture, PARAMS) for picture in (photo, reference))
    return StyleJob(content, [style], engine.match(content, [style], PARAMS))


@pytest.fixture
def job(engine: StyleGallery) -> StyleJob:
    pictures = figure_on_ground(200, 256, RED, BLUE), figure_on_ground(160, 160, GREEN, RED)
    return job_of(engine, *pictures)


def at_finest(engine: StyleGallery, job: StyleJob, params: StyleParams) -> RestyledLatent:
    return engine.sample_batch([job], params)[0]


def test_a_picture_goes_through_its_sizes(engine: StyleGallery, job: StyleJob) -> None:
    made = at_finest(engine, job, PARAMS)
    assert made.latent.shape[-2:] == (16, 20), "twice the training size of 64 px"
    assert [step.total for step in made.trace] == [1]
    finest = at_finest(engine, job, PARAMS.model_copy(update={"scale": 16}))
    assert finest.latent.shape[-2:] == (25, 32), "never above the photo's own"
    assert [step.total for step in finest.trace] == [1, 2, 2]
    assert engine.decode(finest, PARAMS).picture.size == (200, 256)


def test_many_tiles_are_sampled_a_few_at_a_time(
    engine: StyleGallery, job: StyleJob, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of tiles that share a call changes memory, and the result by rounding only."""
    monkeypatch.setattr(tiles, "TILE", 8)
    params = PARAMS.model_copy(update={"scale": 16})
    some = at_finest(engine, job, params)
    assert max(calls) > 4, "inversion needs no gradients and takes all tiles at once"
    monkeypatch.setattr(finer, "_AT_ONCE", 1)
    one = at_finest(engine, job, params)
    assert torch.allclose(some.latent, one.latent, atol=1e-3)
    again = at_finest(engine, job, params)
    assert torch.equal(one.latent, again.latent)


def test_references_come_at_the_size_of_their_strokes(
    engine: StyleGallery, job: StyleJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def noted(models: object, image: object, side: int) -> object:
        asked.extend([side] if image is not job.content else [])
        return at_size(models, image, side)  # type: ignore[arg-type]

    monkeypatch.setattr(finer, "at_size", noted)
    for stroke_size in (1.0, 0.5, 4.0):
        params = PARAMS.model_copy(update={"stroke_size": stroke_size})
        at_finest(StyleGallery(engine.models, engine.encoder), job, params)
    assert asked == [128, 64, 512]
    style = job.styles[0]
    assert at_size(engine.models, style, 64).latent.shape[-1] == 8
    enlarged = at_size(engine.models, style, 512)
    assert enlarged.latent.shape[-1] == 20, "a reference of 160 px is not enlarged"
    assert enlarged.regions.count == style.regions.count
    tiny = engine.prepare(figure_on_ground(16, 20, GREEN, RED), PARAMS)
    assert at_size(engine.models, tiny, 512).latent.shape == tiny.latent.shape


def test_references_are_prepared_once_for_all_pictures(
    engine: StyleGallery, job: StyleJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(models: object, image: object, side: int) -> object:
        made.extend([1] if image is not job.content else [])
        return at_size(models, image, side)  # type: ignore[arg-type]

    monkeypatch.setattr(finer, "at_size", counted)
    fresh = StyleGallery(engine.models, engine.encoder)
    for seed in (0, 1):
        at_finest(fresh, replace(job, seed=seed), PARAMS)
    assert len(made) == 1


def test_a_tile_has_the_regions_of_the_whole_picture() -> None:
    """With their numbers, also where it lacks some of them: routing tables use the numbers."""
    labels = torch.zeros(16, 16, dtype=torch.int64)
    labels[:, 8:] = 1
    labels[12:, 12:] = 2
    corner = RegionMap(labels).cropped(slice(8, 16), slice(8, 16))
    assert corner.count == 3
    assert torch.equal(corner.resized((8, 8)), labels[8:, 8:])
    assert corner.resized((4, 4)).unique().tolist() == [1, 2]


@pytest.fixture(scope="module")
def embedded() -> StyleGallery:
    return StyleGallery.load("embedded")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "gradient"])
def test_tiles_leave_no_seam(embedded: StyleGallery, kind: str) -> None:
    side = 100  # cells: two tiles a side
    ramp = torch.full((8 * side,), 0.5) if kind == "flat" else torch.linspace(0.2, 0.8, 8 * side)
    photo = Picture(ramp.expand(1, 3, 8 * side, 8 * side).contiguous())
    reference = Picture(_picture(data.coffee()))
    job = job_of(embedded, photo, reference)
    coarse = RestyledLatent(job, job.content.latent, ())
    cache = AttentionCache()
    made = sample_finer(embedded.models, PARAMS, cache, coarse, 8 * side)
    light = luminance(embedded.decode(made, PARAMS).picture.pixels[0])
    rows, columns = tiles.TileGrid(side, side).places[1][0], tiles.TileGrid(side, side).places[1][1]
    assert rows.stop < side, "there are several tiles"
    edges = [8 * columns.start, 8 * rows.stop]
    for axis in (0, 1):
        energy = light.diff(dim=axis).square().mean(dim=1 - axis)
        near = torch.stack([energy[edge - 4 : edge + 4].mean() for edge in edges])
        usual = energy.unfold(0, 8, 4).mean(dim=1)
        assert near.max() <= usual.quantile(0.95)


@pytest.mark.slow
def test_lines_stay_where_they_are(embedded: StyleGallery) -> None:
    """At the picture's own size, and nearer than at the training size alone."""
    photo = Picture(_picture(data.astronaut())[..., :384, 64:448])
    job = job_of(embedded, photo, Picture(_picture(data.coffee())))
    weak = PARAMS.model_copy(update={"strength": 0.3, "fine_strength": 0.3, "match_tone": False})
    for settings, least in (({"scale": 1}, 0.0), ({"scale": 2}, 0.85)):
        params = weak.model_copy(update=settings)
        made = embedded.decode(embedded.sample_batch([job], params)[0], params).picture.pixels
        agreement = edge_agreement(made, photo.pixels)
        assert agreement > least
        least = agreement


def _picture(array: object) -> Tensor:
    pixels: Tensor = torch.as_tensor(array).permute(2, 0, 1)[None].float() / 255
    return pixels
