"""Colors as asked for, protected pixels exactly, soft edges outside them alone."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.color.histogram import match_histogram
from stylegallery.color.lab import keep_chroma, lab_to_rgb, rgb_to_lab
from stylegallery.images import codec
from stylegallery.postprocess import feathered
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)


def colors(seed: int = 0, size: int = 40) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_lab_is_that_of_the_textbook() -> None:
    pixels = colors()
    expected = rgb2lab(pixels[0].permute(1, 2, 0).numpy())
    assert np.abs(rgb_to_lab(pixels)[0].permute(1, 2, 0).numpy() - expected).max() < 0.02
    assert (lab_to_rgb(rgb_to_lab(pixels)) - pixels).abs().max() < 1e-4


def test_keep_chroma_takes_lightness_alone() -> None:
    restyled, content = colors(1), colors(2)
    kept = keep_chroma(restyled, content)
    lightness = rgb_to_lab(restyled)[:, 0]
    assert (rgb_to_lab(kept)[:, 0] - lightness).abs().max() < 0.1
    (a, b), (wanted_a, wanted_b) = rgb_to_lab(kept)[0, 1:], rgb_to_lab(content)[0, 1:]
    chroma, wanted = torch.hypot(a, b), torch.hypot(wanted_a, wanted_b)
    assert (chroma <= wanted + 0.1).all()
    turned = torch.atan2(a * wanted_b - b * wanted_a, a * wanted_a + b * wanted_b)
    assert turned[chroma > 2].abs().max() < 0.02
    assert (keep_chroma(content, content) - content).abs().max() < 1e-3


@pytest.mark.parametrize("lightness", [0.0, 100.0])
def test_black_and_white_have_no_chroma(lightness: float) -> None:
    lab = torch.tensor([lightness, 80.0, -60.0]).view(1, 3, 1, 1)
    assert (lab_to_rgb(lab) - lightness / 100).abs().max() < 1e-3


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


@pytest.mark.parametrize("color", ["full", "keep-chroma", "match-histogram"])
def test_protected_pixels_are_exact_in_the_file(
    engine: StyleGallery, params: StyleParams, color: str
) -> None:
    """Opaque, half transparent and transparent alike; the edge lies outside."""
    chosen = params.model_copy(update={"color": color, "protect_feather": 0.1})
    rows, columns = np.mgrid[0:72, 0:64]
    rgba = np.stack([rows * 3, columns * 3, rows + columns, columns * 4], axis=-1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(rgba).save(out, "PNG")
    content = engine.prepare(codec.decode(out.getvalue(), "x"), chosen)
    styles = [engine.prepare(figure_on_ground(64, 64, BLUE, GREEN), chosen)]
    protect = torch.zeros(1, 1, 72, 64)
    protect[..., 30:50, 20:60] = 0.99  # white, as JPEG has it
    routing = engine.match(content, styles, chosen)
    made = engine.stylize(content, styles, routing, chosen, protect=protect).picture
    for image_format in ("png", "webp"):
        with Image.open(io.BytesIO(codec.encode(made, image_format))) as image:
            again = np.asarray(image.convert("RGBA"))
        assert np.array_equal(again[30:50, 20:60], rgba[30:50, 20:60])
        assert np.array_equal(again[..., 3], rgba[..., 3])
        assert not np.array_equal(again[:20], rgba[:20])


def test_the_edge_is_soft_and_outside() -> None:
    protect = torch.zeros(1, 1, 100, 120)
    protect[..., 40:60, 40:60] = 1
    protect[..., 0, 0] = 0.4
    kept = feathered(protect, 0.1)[0, 0]
    assert (kept[40:60, 40:60] == 1).all()
    row = kept[50, 60:75]
    assert (row[:10] > 0).all()
    assert (row[:-1] >= row[1:]).all()
    assert (row[11:] == 0).all()
    assert kept[0, 0] == 0.4
    assert torch.equal(feathered(protect, 0.0), protect)
    assert torch.equal(feathered(torch.zeros(1, 1, 20, 20), 0.1), torch.zeros(1, 1, 20, 20))


def test_the_edge_fades_out_where_it_ends() -> None:
    protect = torch.zeros(1, 1, 100, 120)
    protect[..., :20] = 1
    edge = feathered(protect, 0.1)[0, 0, 50]
    assert edge[19] == 1
    assert (edge[19:30].diff() < 0).all()
    assert 0 < edge[29] < 0.05  # 10 px from the white, the last of the edge
    assert (edge[30:] == 0).all()
