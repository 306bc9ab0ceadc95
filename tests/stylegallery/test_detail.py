"""Detail: the photo's fine light comes back, its coarse light and all colours stay the style's."""

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.color.lab import luminance
from stylegallery.images.codec import resize
from stylegallery.metrics.content import edge_agreement, luminance_ssim
from stylegallery.postprocess import keep_detail
from tests.stylegallery.conftest import figure_on_ground


def photo(side: int = 256) -> Tensor:
    pixels = torch.from_numpy(np.array(data.astronaut())).permute(2, 0, 1)[None] / 255
    return resize(pixels, (side, side))


def smeared(pixels: Tensor) -> Tensor:
    """As an autoencoder leaves it: what is small is gone, colours are others."""
    side = pixels.shape[-1]
    return resize(resize(pixels, (side // 8, side // 8)), (side, side)) * 0.6 + 0.2


def test_none_leaves_every_pixel_as_it_is() -> None:
    restyled = smeared(photo())
    assert torch.equal(keep_detail(restyled, photo(), 0.0), restyled)


def test_the_more_the_closer_in_form() -> None:
    content = photo()
    made = [keep_detail(smeared(content), content, share) for share in (0.0, 0.1, 0.2, 0.4)]
    for figure in (luminance_ssim, edge_agreement):
        figures = [figure(picture, content) for picture in made]
        assert figures == sorted(figures)
        assert figures[-1] > figures[0] + 0.1


def test_colours_move_alike_and_coarse_light_stays() -> None:
    content, restyled = photo(), smeared(photo())
    change = keep_detail(restyled, content, 0.5) - restyled
    inside = ((restyled + change) > 0.001).all(dim=1) & ((restyled + change) < 0.999).all(dim=1)
    assert inside.float().mean() > 0.9
    assert (change.amax(dim=1) - change.amin(dim=1))[inside].max() < 1e-5
    coarse = torch.nn.functional.avg_pool2d(luminance(change[0])[None, None], 64)
    assert coarse.abs().max() < 0.02 < luminance(change[0]).abs().max()


def test_another_size_of_the_same_picture_changes_alike() -> None:
    small, large = photo(256), photo(512)
    one = keep_detail(smeared(small), small, 0.5)
    other = resize(keep_detail(resize(smeared(small), (512, 512)), large, 0.5), (256, 256))
    assert (one - other).abs().mean() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 64), (700, 40)])
def test_any_size_works(size: tuple[int, int]) -> None:
    content = figure_on_ground(*size, (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)).pixels
    made = keep_detail(1 - content, content, 0.3)
    assert made.shape == content.shape
    assert made.min() >= 0
    assert made.max() <= 1


def test_published_methods_do_without() -> None:
    assert StyleParams().finish.detail > 0
    for method in ("stylegallery-paper", "attention-distillation", "styleid"):
        assert StyleParams(method=method).finish.detail == 0
