"""Designs: texture goes, areas and colors stay, and what is no pair is refused."""

import pytest
import torch

from stylegallery import Picture
from stylegallery.contrastive.design import design_pair, make_design
from stylegallery.errors import BadReferences
from stylegallery.metrics.frequency import high_energy
from tests.stylegallery.contrastive.cloth import blocks, woven

SIDE = 96


def test_a_design_has_the_areas_without_the_threads() -> None:
    reference = woven()
    design = make_design(reference, SIDE).pixels
    assert high_energy(design) <= 0.3 * high_energy(reference.pixels)
    inner = torch.ones(1, 1, 96, 112)
    inner[..., 44:52, :] = inner[..., 33:41] = 0
    inner[..., :4, :] = inner[..., -4:, :] = inner[..., :4] = inner[..., -4:] = 0
    off = ((design - blocks()).abs() * inner).sum() / (3 * inner.sum())
    before = ((reference.pixels - blocks()).abs() * inner).sum() / (3 * inner.sum())
    assert off < 0.25 * before
    step = design[0, :, 20, 30] - design[0, :, 20, 45]  # the edge stays
    assert (step - (blocks()[0, :, 20, 30] - blocks()[0, :, 20, 45])).abs().max() < 0.1


def test_a_design_is_the_same_each_time_and_has_the_size_and_alpha_of_the_picture() -> None:
    alpha = torch.ones(1, 1, 130, 260)
    picture = Picture(woven(130, 260).pixels, alpha)
    design = make_design(picture, 64)
    assert design.size == (130, 260)
    assert design.alpha is alpha
    assert torch.equal(design.pixels, make_design(picture, 64).pixels)


def test_the_users_design_is_taken_at_the_size_of_the_reference() -> None:
    pair = design_pair(woven(), Picture(blocks(48, 56)), SIDE, "silk.png")
    assert pair.design.size == pair.textured.size
    assert (pair.design.pixels - blocks()).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("reference", "design", "words"),
    [
        (woven(), woven(), "no texture of silk.png can be told from its design"),
        (woven(), Picture(blocks().flip(-1)), "silk.png has other colors"),
        (Picture(torch.linspace(0, 1, 112).expand(1, 3, 96, 112)), None, "no texture of silk.png"),
    ],
)
def test_what_is_no_pair_is_refused(reference: Picture, design: Picture | None, words: str) -> None:
    with pytest.raises(BadReferences, match=words):
        design_pair(reference, design, SIDE, "silk.png")


def test_bold_textures_are_smoothed_more() -> None:
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(112), indexing="ij")
    checks = ((rows // 5 + columns // 5) % 2).float().mul(0.8).add(0.1)
    reference = Picture(checks.expand(1, 3, 96, 112).contiguous())
    design = make_design(reference, SIDE)
    assert high_energy(design.pixels) <= 0.3 * high_energy(reference.pixels)


def test_a_swatch_that_is_nothing_but_threads_has_a_design() -> None:
    height, width = torch.meshgrid(torch.arange(96), torch.arange(112), indexing="ij")
    threads = 0.5 + 0.3 * torch.sin(height * 1.3) * torch.sin(width * 1.3)
    pair = design_pair(Picture(threads.expand(1, 3, 96, 112)), None, SIDE, "tweed.png")
    assert pair.design.pixels.std() < 0.05
