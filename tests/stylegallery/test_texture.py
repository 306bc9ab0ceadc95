"""Fine texture comes from the matched regions of the references, and only that."""

from dataclasses import replace

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.color.lab import luminance
from stylegallery.images.codec import resize
from stylegallery.matching.correspondence import Correspondence
from stylegallery.regions.region_map import RegionMap
from stylegallery.texture import transfer_texture
from stylegallery.types import StyleJob

SIZE = (120, 144)
LEFT, RIGHT = (..., slice(16, 104), slice(8, 60)), (..., slice(16, 104), slice(84, 136))


def noise(strength: float, seed: int) -> Tensor:
    grain = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(seed)) - 0.5
    return (0.5 + strength * grain).expand(-1, 3, -1, -1)


def ramp() -> Tensor:
    """A ramp from left to right with a little grain."""
    return torch.linspace(0.2, 0.8, SIZE[1]) + noise(0.05, 3) - 0.5


def fine(pixels: Tensor, where: tuple[object, ...]) -> float:
    light = luminance(pixels[0]).numpy()
    return float((torch.from_numpy(light - gaussian_filter(light, 1.6))[where[1:]]).std())


def routed(first: float, second: float) -> Correspondence:
    """Two content regions, left and right, and two references of one region each."""
    table = torch.tensor([[first, -torch.inf], [-torch.inf, second]])
    return Correspondence(
        table, torch.zeros(2), (1, 1), torch.tensor([0, 1]), torch.ones(2, 4), ("none", "none"),
        torch.zeros(2, dtype=torch.bool), torch.full((2,), 0.5), torch.full((2, 2), 0.5),
    )  # fmt: skip


@pytest.fixture
def job(engine: StyleGallery, params: StyleParams) -> StyleJob:
    """The left half takes from strong noise, the right half from weak noise."""
    photo, strong, weak = (
        engine.prepare(Picture(pixels), params)
        for pixels in (ramp(), noise(0.5, 1), noise(0.06, 2))
    )
    halves = torch.zeros(photo.latent.shape[-2:], dtype=torch.int64)
    halves[:, halves.shape[1] // 2 :] = 1
    styles = [replace(one, regions=RegionMap(torch.zeros_like(halves))) for one in (strong, weak)]
    return StyleJob(replace(photo, regions=RegionMap(halves)), styles, routed(0.0, 0.0))


def test_each_region_gets_the_contrast_of_its_references(job: StyleJob) -> None:
    made = transfer_texture(ramp(), job, SIZE, 1.0, 1.0)
    for where, strength, seed in ((LEFT, 0.5, 1), (RIGHT, 0.06, 2)):
        assert fine(made, where) == pytest.approx(fine(noise(strength, seed), where), rel=0.15)
    half = transfer_texture(ramp(), job, SIZE, 0.5, 1.0)
    assert fine(half, LEFT) == pytest.approx(0.5 * fine(made, LEFT), rel=0.05)


def test_what_is_coarse_stays(job: StyleJob) -> None:
    made = transfer_texture(ramp(), job, SIZE, 1.0, 1.0)
    before, after = (gaussian_filter(one.numpy(), (0, 0, 4, 4)) for one in (ramp(), made))
    assert abs(after - before).max() < 0.03


def test_a_region_without_a_reference_is_only_enlarged(job: StyleJob) -> None:
    kept = replace(job, routing=routed(0.0, -torch.inf))
    made = transfer_texture(ramp(), kept, SIZE, 1.0, 1.0)
    assert torch.allclose(made[..., 100:], ramp()[..., 100:], atol=1e-6)  # regions blend softly
    assert fine(made, LEFT) > 0.05
    alone = transfer_texture(
        ramp(), replace(job, routing=routed(-torch.inf, -torch.inf)), SIZE, 1, 1
    )
    assert torch.equal(alone, ramp())


def test_share_zero_only_enlarges(job: StyleJob) -> None:
    small = resize(ramp(), (60, 72))
    assert torch.equal(transfer_texture(small, job, SIZE, 0.0, 1.0), resize(small, SIZE))


def test_a_result_that_is_reduced_lacks_no_texture(job: StyleJob) -> None:
    size = (60, 72)
    assert torch.equal(transfer_texture(ramp(), job, size, 1.0, 1.0), resize(ramp(), size))


def test_a_small_result_gets_the_texture_of_every_octave(job: StyleJob) -> None:
    small = resize(ramp(), (30, 36))
    made = transfer_texture(small, job, SIZE, 1.0, 1.0)
    assert made.shape[-2:] == SIZE
    quarter = resize(made, (60, 72)), resize(noise(0.5, 1), (60, 72))
    near = (..., slice(8, 52), slice(4, 30))
    assert fine(quarter[0], near) > 0.7 * fine(quarter[1], near)
    assert fine(made, LEFT) > 0.7 * fine(noise(0.5, 1), LEFT)


def test_equal_input_gives_equal_pixels_at_any_size(job: StyleJob) -> None:
    for size in ((121, 143), (240, 288), (97, 144)):
        first, second = (transfer_texture(ramp(), job, size, 1.0, 1.0) for _ in range(2))
        assert torch.equal(first, second)
        assert first.shape[-2:] == size
        assert first.isfinite().all()


def test_lines_of_the_result_find_lines_of_the_reference(
    engine: StyleGallery, params: StyleParams
) -> None:
    """Patches are found by what they show: a blurred step takes a sharp one from the reference."""
    step = torch.full((1, 3, *SIZE), 0.3)
    step[..., 72:] = 0.7
    soft = torch.from_numpy(gaussian_filter(step.numpy(), (0, 0, 0, 1.6)))
    content, style = (engine.prepare(Picture(one), params) for one in (soft, step.flip(2)))
    whole = RegionMap(torch.zeros_like(content.regions.labels))
    content, style = replace(content, regions=whole), replace(style, regions=whole)
    routing = replace(routed(0.0, 0.0), log_weights=torch.zeros(1, 1), style_regions=(1,))
    made = transfer_texture(soft, StyleJob(content, [style], routing), SIZE, 1.0, 1.0)
    steepest = [one.diff(dim=3).max() for one in (soft, made)]
    assert steepest[1] > 1.5 * steepest[0]
