"""Colors as asked for, protected pixels exactly, soft edges outside them alone."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from schemas.params import StyleParams
from stylegallery import StyleGallery
from stylegallery.images import codec
from stylegallery.postprocess import feathered
from tests.stylegallery.conftest import figure_on_ground

BLUE, GREEN = (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)


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
