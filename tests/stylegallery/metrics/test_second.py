"""The second judge of style: tiles cover a picture, regions choose tiles, blur is far from it."""

import pytest
import torch

from stylegallery.errors import ModelNotFound
from stylegallery.metrics import second
from stylegallery.metrics.second import TILE, StylePredictor, StyleTiles, style_vector_distance
from stylegallery.training.patterns import draw

judges = pytest.mark.skipif(not second.is_installed(), reason="needs the extra `benchmarks`")


def pattern(seed: int, size: int = 384) -> torch.Tensor:
    return torch.from_numpy(draw((seed, 1), size)).permute(2, 0, 1)[None].float() / 255


def marked(*corners: tuple[int, int]) -> StyleTiles:
    """Tiles of a picture of 256 x 512 px whose vectors tell which tile they are of."""
    return StyleTiles((TILE, 2 * TILE), torch.tensor(corners), torch.eye(len(corners), 100))


def test_a_region_counts_the_tiles_that_it_covers() -> None:
    tiles = marked((0, 0), (0, 128), (0, 256))
    assert tiles.mean()[:4].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    right = torch.zeros((8, 16), dtype=torch.bool)
    right[:, 8:] = True
    # The right tile counts whole and the middle one by half.
    assert tiles.mean(right)[:4].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 0])
    corner = torch.zeros((8, 16), dtype=torch.bool)
    corner[:2, 14:] = True
    assert tiles.mean(corner)[:4].tolist() == pytest.approx([0, 0, 1, 0])


def test_distances_are_angles_of_style_vectors() -> None:
    one, another = torch.eye(2, 100)
    assert style_vector_distance(one, 3 * one) == pytest.approx(0, abs=1e-6)
    assert style_vector_distance(one, another) == pytest.approx(1)
    assert style_vector_distance(one, -one) == pytest.approx(2)


@judges
@pytest.mark.parametrize(
    ("size", "count"), [((256, 256), 1), ((256, 384), 2), ((300, 257), 4), ((100, 128), 2)]
)
def test_tiles_cover_a_picture(size: tuple[int, int], count: int) -> None:
    tiles = StylePredictor().tiles(pattern(3)[..., : size[0], : size[1]])
    assert tiles.vectors.shape == (count, 100)
    covered = torch.zeros(tiles.size)
    for y, x in tiles.corners.tolist():
        assert y + TILE <= tiles.size[0]
        covered[y : y + TILE, x : x + TILE] += 1
    assert covered.min() >= 1


@judges
def test_a_style_is_nearer_to_its_other_half_than_to_another() -> None:
    predictor = StylePredictor()
    left, right, far = (
        predictor.tiles(one).mean()
        for one in (pattern(3)[..., :256], pattern(3)[..., 128:], pattern(8))
    )
    assert style_vector_distance(left, left) == pytest.approx(0, abs=1e-6)
    assert style_vector_distance(left, right) < 0.5 * style_vector_distance(left, far)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second, "is_installed", lambda: False)
    with pytest.raises(ModelNotFound, match=r"stylegallery\[benchmarks\]"):
        StylePredictor()
