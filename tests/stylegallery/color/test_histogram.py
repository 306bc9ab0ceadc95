"""Histogram matching by region."""

import torch

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.color.histogram import match_histogram
from tests.stylegallery.color.test_lab import colors
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)


def test_match_histogram_goes_region_by_region_with_weights(
    engine: StyleGallery, params: StyleParams
) -> None:
    hard = params.model_copy(update={"routing": "hard"})
    labels = torch.ones(64, 64, dtype=torch.int64)
    labels[:, 32:] = 2
    content = engine.prepare(Picture(colors(3, 64)), hard, labels)
    flat = [Picture(torch.tensor(c).view(1, 3, 1, 1).expand(1, 3, 64, 64)) for c in (RED, BLUE)]
    styles = [engine.prepare(picture, hard, torch.ones(64, 64).long()) for picture in flat]
    routing = engine.match(content, styles, hard)
    routing.log_weights.fill_(-torch.inf)
    routing.log_weights[0, 0] = 0.0  # left from red; right keeps what it has
    matched = match_histogram(content.picture.pixels, content, styles, routing)
    far = content.picture.pixels.shape[-1] // 2
    red = torch.tensor(RED).view(1, 3, 1, 1)
    assert (matched[..., : far - 8] - red).abs().max() < 1 / 255
    assert torch.allclose(matched[..., far + 8 :], content.picture.pixels[..., far + 8 :])
    routing.log_weights[1] = torch.log(torch.tensor([0.25, 0.75]))
    matched = match_histogram(content.picture.pixels, content, styles, routing)
    right = matched[0, 0, :, far + 8 :]
    assert abs(float((right > 0.5).float().mean()) - 0.25) < 0.05


def test_match_histogram_of_itself_changes_nothing(
    engine: StyleGallery, params: StyleParams
) -> None:
    whole = params.model_copy(update={"method": "attention-distillation"})
    picture = figure_on_ground(64, 64, RED, BLUE)
    content = engine.prepare(picture, whole)
    routing = engine.match(content, [content], whole)
    matched = match_histogram(picture.pixels, content, [content], routing)
    assert (matched - picture.pixels).abs().max() < 0.5 / 255
