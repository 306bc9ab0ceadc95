"""The method `diffstyler` in the engine: exact locality, several styles, learnt references."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery import Picture, PreparedImage, StyleGallery, StyleJob
from stylegallery.adapters.adapter import Adapter
from stylegallery.errors import BadReferences
from stylegallery.matching.correspondence import Pin
from stylegallery.methods.diffstyler import protecting_kept_regions
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GOLD, TEAL = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.9, 0.7, 0.1), (0.1, 0.6, 0.6)
SIZE = (150, 97)  # of the photo; no multiple of a cell's side


def settings(**chosen: object) -> StyleParams:
    given = {
        "method": "diffstyler", "image_size": 64, "steps": 3, "inversion_steps": 2,
        "max_regions": 3, "adapter_rank": 2, "adapter_steps": 3, "adapter_rate": 0.05,
    }  # fmt: skip
    return StyleParams.model_validate({**given, **chosen})


PINNED_ALONE = settings(min_similarity=10, fallback="content")


def labels() -> Tensor:
    """Four regions: three stripes from the top, one of them longer, and the rest, with corners."""
    found = torch.ones(SIZE, dtype=torch.int64)
    found[:75, :32], found[:75, 32:64], found[:112, 64:] = 2, 3, 4
    return found


@pytest.fixture(scope="module")
def content(engine: StyleGallery) -> PreparedImage:
    return engine.prepare(figure_on_ground(*SIZE, RED, BLUE), settings(), labels())


@pytest.fixture(scope="module")
def styles(engine: StyleGallery) -> list[PreparedImage]:
    pictures = [
        figure_on_ground(96, 104, GOLD, BLUE, 3),
        figure_on_ground(110, 96, TEAL, RED, 4),
        figure_on_ground(96, 96, BLUE, GOLD, 5),
    ]
    return [engine.prepare(picture, settings()) for picture in pictures]


@pytest.fixture(scope="module")
def adapters(engine: StyleGallery, styles: list[PreparedImage]) -> tuple[Adapter, ...]:
    return tuple(engine.learn([style.picture], settings()) for style in styles)


@pytest.fixture
def job(
    engine: StyleGallery,
    content: PreparedImage,
    styles: list[PreparedImage],
    adapters: tuple[Adapter, ...],
) -> StyleJob:
    """Three regions are pinned to three references; the rest keeps the photo."""
    stripes = [int(content.regions.labels[0, column]) for column in (0, 4, -1)]
    assert len(set(stripes)) == 3
    pins = [Pin(region, style, 0) for style, region in enumerate(stripes)]
    routing = engine.match(content, styles, PINNED_ALONE, pins=pins)
    assert routing.fallback.count("content") == 1
    return StyleJob(content, styles, routing, adapters=adapters)


def cells_on_pixels(mask: Tensor) -> Tensor:
    """Return a mask (h, w) of cells as one of pixels (H, W)."""
    return F.interpolate(mask[None, None].float(), SIZE, mode="nearest-exact")[0, 0].bool()


def test_three_regions_take_three_styles_and_the_rest_is_the_photo_to_the_bit(
    engine: StyleGallery, job: StyleJob
) -> None:
    (made,) = engine.stylize_batch([job], PINNED_ALONE)
    photo, pixels = job.content.picture.pixels[0], made.picture.pixels[0]
    regions = job.content.regions.labels
    kept = regions == job.routing.fallback.index("content")
    assert torch.equal(pixels[:, cells_on_pixels(kept)], photo[:, cells_on_pixels(kept)])
    for region in set(regions.unique().tolist()) - {job.routing.fallback.index("content")}:
        inside = cells_on_pixels(regions == region)
        assert (pixels - photo)[:, inside].abs().mean() > 0.02
    # Another adapter changes its own region most, and never the rest.
    adapters = (*job.adapters[:2], job.adapters[0])
    (other,) = engine.stylize_batch([replace(job, adapters=adapters)], PINNED_ALONE)
    change = (other.picture.pixels - made.picture.pixels)[0].abs().mean(dim=0)
    third = cells_on_pixels(regions == int(regions[0, -1]))
    assert change[cells_on_pixels(kept)].max() == 0
    assert change[third].mean() > change[~third].mean()


def test_a_picture_without_any_match_is_the_photo(engine: StyleGallery, job: StyleJob) -> None:
    routing = engine.match(job.content, job.styles, PINNED_ALONE)
    (made,) = engine.stylize_batch([replace(job, routing=routing)], PINNED_ALONE)
    assert torch.equal(made.picture.pixels, job.content.picture.pixels)


def test_kept_regions_and_protected_pixels_are_both_protected(
    engine: StyleGallery, job: StyleJob
) -> None:
    protect = torch.zeros(1, 1, *SIZE)
    protect[..., :20, :20] = 1
    protect[..., 20:30, :20] = 0.5
    (made,) = engine.stylize_batch([replace(job, protect=protect)], PINNED_ALONE)
    kept = cells_on_pixels(job.content.regions.labels == job.routing.fallback.index("content"))
    kept[:20, :20] = True
    photo, pixels = job.content.picture.pixels[0], made.picture.pixels[0]
    assert torch.equal(pixels[:, kept], photo[:, kept])
    assert not torch.equal(pixels, photo)
    both = protecting_kept_regions(replace(job, protect=protect)).protect
    assert both is not None
    assert (both >= protect).all()
    assert float(both[0, 0, 25, 5]) == 0.5


def test_the_outline_of_kept_regions_is_smooth_and_covers_their_cells(
    engine: StyleGallery, job: StyleJob
) -> None:
    regions = job.content.regions.labels
    protect = protecting_kept_regions(job).protect
    assert protect is not None
    kept = cells_on_pixels(regions == job.routing.fallback.index("content"))
    assert (protect[0, 0][kept] == 1).all()
    side = SIZE[1] / regions.shape[1]
    grown = F.max_pool2d(kept[None, None].float(), 2 * int(side) + 1, stride=1, padding=int(side))
    assert (protect <= grown).all()  # by less than a cell
    routed = engine.match(job.content, job.styles, settings())
    plain = replace(job, routing=routed)
    assert protecting_kept_regions(plain) is plain


def test_each_reference_is_learnt_once_for_all_galleries(
    engine: StyleGallery, job: StyleJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = StyleGallery(engine.models, engine.encoder)
    learnt: list[int] = []
    inner = fresh.learn

    def learn(pictures: list[Picture], *rest: object) -> Adapter:
        learnt.append(len(pictures))
        return inner(pictures, *rest)

    monkeypatch.setattr(fresh, "learn", learn)
    bare = replace(job, adapters=())
    pair = replace(bare, styles=job.styles[:2])
    pair = replace(pair, routing=engine.match(pair.content, pair.styles, settings()))
    (first, _) = fresh.sample_batch([bare, pair], PINNED_ALONE)
    assert learnt == [1, 1, 1]
    (given,) = engine.sample_batch([job], PINNED_ALONE)
    assert torch.equal(first.latent, given.latent)


def test_another_number_of_adapters_is_refused(engine: StyleGallery, job: StyleJob) -> None:
    with pytest.raises(BadReferences, match="needs 3 learnt styles, one for each reference, not 1"):
        engine.stylize_batch([replace(job, adapters=job.adapters[:1])], PINNED_ALONE)


def test_nothing_is_random(engine: StyleGallery, job: StyleJob) -> None:
    first, second = (
        engine.sample_batch([replace(job, seed=seed)], PINNED_ALONE)[0].latent for seed in (1, 2)
    )
    assert torch.equal(first, second)
