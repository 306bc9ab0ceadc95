"""Portrait, banner, large photo and thumbnail come out whole: own size, in place, no seams."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.images.codec import resize
from stylegallery.metrics.content import edge_agreement
from stylegallery.models.vae import working_size
from stylegallery.training.patterns import draw

FEW = {"steps": 4, "inversion_steps": 2}
SHIFTS = (-8, -4, -2, 0, 2, 4, 8)
RIM = 16
LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


@dataclass(frozen=True)
class Case:
    """A photo cropped to `box` (top, left, height, width) and brought to `size` (H, W)."""

    photo: NDArray[np.uint8]
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    reference: NDArray[np.uint8]
    short_side: int = 128

    @property
    def content(self) -> Picture:
        top, left, height, width = self.box
        whole = picture(self.photo[top : top + height, left : left + width])
        return Picture(resize(whole.pixels, self.size))

    @property
    def params(self) -> StyleParams:
        return StyleParams(image_size=self.short_side, **FEW)


@dataclass(frozen=True)
class Made:
    """A content, its result, and both at the size that the engine worked at."""

    content: Picture
    result: Picture
    before: Tensor
    after: Tensor


def picture(array: NDArray[np.uint8]) -> Picture:
    return Picture(torch.tensor(array).permute(2, 0, 1)[None].float() / 255)


@pytest.fixture(scope="module")
def embedded() -> StyleGallery:
    return StyleGallery.load("embedded")


def cases() -> dict[str, Case]:
    coffee, cat, astronaut = data.coffee(), data.chelsea(), data.astronaut()
    china = load_sample_image("china.jpg")
    return {
        "portrait 3:4": Case(astronaut, (0, 60, 512, 384), (400, 300), coffee),
        "banner 16:9": Case(china, (40, 0, 360, 640), (180, 320), draw(11, 256)),
        "1000x1500": Case(astronaut, (0, 80, 512, 341), (1500, 1000), draw(3, 256), 256),
        "thumbnail": Case(cat, (0, 100, 300, 300), (64, 64), data.rocket()),
        "odd": Case(coffee, (0, 0, 400, 600), (67, 101), draw(7, 256)),
    }


@pytest.fixture(scope="module", params=list(cases()))
def made(request: pytest.FixtureRequest, embedded: StyleGallery) -> Made:
    case = cases()[request.param]
    content = embedded.prepare(case.content, case.params)
    styles = [embedded.prepare(picture(case.reference), case.params)]
    routing = embedded.match(content, styles, case.params)
    result = embedded.stylize(content, styles, routing, case.params).picture
    size = working_size(case.size, case.short_side, embedded.models.vae_factor)
    before, after = (resize(p.pixels, size) for p in (case.content, result))
    return Made(case.content, result, before, after)


def test_it_is_a_restyled_picture_of_the_same_size(made: Made) -> None:
    assert made.result.pixels.shape == made.content.pixels.shape
    assert (made.after - made.before).abs().mean() > 0.03  # else the rest would prove nothing


def test_nothing_moved(made: Made) -> None:
    """Outlines lie on each other better than after any shift, by a pixel or by a latent cell."""
    height, width = made.before.shape[-2:]
    reach = max(SHIFTS)
    inner = made.before[..., reach:-reach, reach:-reach]
    found = {}
    for down, right in product(SHIFTS, SHIFTS):
        rows = slice(reach + down, height - reach + down)
        columns = slice(reach + right, width - reach + right)
        found[down, right] = edge_agreement(made.after[..., rows, columns], inner)
    in_place = found.pop((0, 0))
    assert in_place > 0.75
    assert in_place > max(found.values()) + 0.1


def test_the_rim_shows_what_was_there(made: Made) -> None:
    """A picture padded by repeating or mirroring its edge has other outlines at its rim."""
    rims = [np.s_[..., :RIM, :], np.s_[..., -RIM:, :], np.s_[..., :RIM], np.s_[..., -RIM:]]
    assert min(edge_agreement(made.after[rim], made.before[rim]) for rim in rims) > 0.7


@pytest.mark.parametrize("axis", [0, 1], ids=["rows", "columns"])
def test_no_line_stands_out(made: Made, axis: int) -> None:
    """No row or column changes much more, or hardly at all, beside what it does in the content.

    Catches a border band of another tone, a black line, and rows that are only repeated.
    """
    before, after = (changes(pixels, axis)[None] for pixels in (made.before, made.after))
    padded = F.pad(before, (2, 2), mode="replicate")
    most, least = F.max_pool1d(padded, 5, 1), -F.max_pool1d(-padded, 5, 1)
    assert (after / (most + 0.3)).max() < 1.7
    assert ((after + 0.1) / (least + 0.1)).min() > 0.3


def changes(pixels: Tensor, axis: int) -> Tensor:
    """Mean change of luminance from each row, or column, to the next, over the mean of all."""
    luminance = (pixels[0] * LUMA).sum(0)
    profile = luminance.diff(dim=axis).abs().mean(dim=1 - axis)
    return profile / profile.mean()


@pytest.mark.parametrize("size", [(67, 101), (101, 67)])
def test_alpha_and_protection_stay_in_place_at_odd_sizes(
    embedded: StyleGallery, size: tuple[int, int]
) -> None:
    params = StyleParams(image_size=64, protect_feather=0.05, **FEW)
    photo = resize(picture(data.coffee()).pixels, size)
    alpha, protect = torch.ones(1, 1, *size), torch.zeros(1, 1, *size)
    alpha[..., :13, :] = 0
    alpha[..., 13:17, :] = 0.6
    protect[..., 31:48, 5:24] = 1  # off the middle both ways
    content = embedded.prepare(Picture(photo, alpha), params)
    styles = [embedded.prepare(picture(draw(7, 256)), params)]
    routing = embedded.match(content, styles, params)
    result = embedded.stylize(content, styles, routing, params, protect=protect).picture
    assert result.alpha is not None
    assert torch.equal(result.alpha, alpha)
    change = (result.pixels - photo).abs().amax(dim=1)[0]
    assert change[31:48, 5:24].max() == 0
    beyond = torch.ones(size, dtype=torch.bool)
    beyond[31 - 5 : 48 + 5, : 24 + 5] = False  # the feather is 3 px wide
    assert (change[beyond] > 0.01).float().mean() > 0.9
    top = content.regions.resized(size)[:10].unique()
    assert not torch.isin(content.regions.resized(size)[24:], top).any()  # what is not seen
