"""What the pictures show: every region, matching colours, nothing lost."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from schemas.params import StyleParams
from stylegallery import Picture, PreparedImage, StyleGallery
from stylegallery.matching.correspondence import Correspondence
from stylegallery.palette import NEUTRAL, enlarge, region_color
from stylegallery.regions.region_map import RegionMap
from stylegallery.regions.region_png import region_map_image
from stylegallery.visualize import contact_sheet, match_panel, region_overlay
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)


@pytest.fixture
def prepared(engine: StyleGallery, params: StyleParams) -> Callable[..., PreparedImage]:
    def make(height: int, width: int, regions: int) -> PreparedImage:
        labels = (torch.arange(width) * regions // width + 1).expand(height, width)
        return engine.prepare(figure_on_ground(height, width, RED, BLUE), params, labels)

    return make


def holds(image: Image.Image, colour: tuple[int, int, int]) -> bool:
    return bool((np.asarray(image) == colour).all(axis=-1).any())


def test_label_images_are_lossless_and_read_as_masks() -> None:
    regions = RegionMap(torch.arange(256).reshape(16, 16))
    image = region_map_image(regions)
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), regions.labels.numpy())
    colours = {region_color(index) for index in range(256)}
    assert len(colours) == 256
    assert not colours & {(0, 0, 0), NEUTRAL}
    assert len(image.convert("RGB").getcolors(256)) == 256
    with pytest.raises(ValueError, match="256 regions, not 257"):
        region_map_image(RegionMap(torch.arange(257)[None]))


def test_enlarging_keeps_every_region() -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    large = enlarge(labels, (90, 120))
    assert large.shape == (90, 120)
    assert np.array_equal(large[15::30, 15::30], labels)


def test_an_overlay_tints_every_region(prepared: Callable[..., PreparedImage]) -> None:
    image = prepared(48, 96, 3)
    drawn = region_overlay(image)
    assert drawn.size == (640, 320)
    thirds = np.asarray(drawn, dtype=float)[280:].reshape(40, 640, 3)
    plain = thirds.mean(axis=(0, 1))
    for region in range(3):
        hue = thirds[:, 30 + 213 * region : 180 + 213 * region].mean(axis=(0, 1)) - plain
        wanted = np.array(region_color(region)) - np.mean(
            [region_color(k) for k in range(3)], axis=0
        )
        assert float(hue @ wanted) > 0


def test_a_tint_keeps_little_of_the_photo_s_own_colour(
    engine: StyleGallery, params: StyleParams
) -> None:
    red = torch.zeros(1, 3, 48, 96)
    red[:, 0] = 1.0
    labels = (torch.arange(96) * 2 // 96 + 1).expand(48, 96)
    drawn = np.asarray(region_overlay(engine.prepare(Picture(red), params, labels)), dtype=float)
    faded = np.array([255 - 0.7 * 170, 0.7 * 85, 0.7 * 85])  # seven tenths of the way to grey
    for region, column in ((0, 60), (1, 580)):
        wanted = (faded + region_color(region)) / 2
        assert np.abs(drawn[300, column] - wanted).max() < 2


def test_a_panel_shows_matches_in_one_colour(
    engine: StyleGallery, params: StyleParams, prepared: Callable[..., PreparedImage]
) -> None:
    content, styles = prepared(64, 64, 2), [prepared(64, 96, 2), prepared(64, 64, 3)]
    routing = engine.match(content, styles, params)
    routing = replace(routing, best=torch.tensor([0, 4]))
    names = ["wheat", "night"]
    panel = match_panel(content, styles, routing.rows(names), names)
    assert holds(panel, region_color(0))
    assert holds(panel, region_color(1))
    assert panel.mode == "RGB"
    assert panel.width > panel.height


def test_a_panel_tells_fallbacks_apart(
    engine: StyleGallery, params: StyleParams, prepared: Callable[..., PreparedImage]
) -> None:
    content, style = prepared(64, 64, 2), prepared(64, 64, 2)

    def shown(routing: Correspondence, *fallback: str) -> np.ndarray:
        rows = replace(routing, fallback=fallback).rows(["wheat"])
        return np.asarray(match_panel(content, [style], rows, ["wheat"]))

    routing = engine.match(content, [style], params)
    drawn = [shown(routing, "none", kind) for kind in ("none", "global", "content")]
    legends = [one[-80:, :40] for one in drawn]
    assert not np.array_equal(legends[0], legends[1])
    assert np.array_equal(legends[1], legends[2])
    assert not np.array_equal(drawn[1][:300, :300], drawn[2][:300, :300])


def test_a_contact_sheet_holds_rows_of_one_height() -> None:
    red, blue = Image.new("RGB", (60, 30), "red"), Image.new("RGBA", (20, 40), "blue")
    sheet = contact_sheet([[("one", red), ("a caption that is too long", blue)], [("two", red)]])
    pixels = np.asarray(sheet)
    reds = (pixels == (255, 0, 0)).all(axis=-1)
    assert reds.sum() == 2 * 600 * 300
    assert (pixels == (0, 0, 255)).all(axis=-1).sum() == 150 * 300
    assert contact_sheet([]).width > 0
