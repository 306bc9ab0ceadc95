"""The demo's inputs: made without a network, with the same bytes every time."""

from pathlib import Path

import pytest
from PIL import Image

from flows.cli.demo import art
from flows.cli.demo.inputs import PRODUCTS, write_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_inputs(folder)
    return folder


def test_there_are_products_and_two_galleries_one_with_several_references(inputs: Path) -> None:
    assert len(list((inputs / "products").glob("*.png"))) == len(PRODUCTS) >= 3
    galleries = [list(folder.glob("*.png")) for folder in (inputs / "galleries").iterdir()]
    assert len(galleries) == 2
    assert max(map(len, galleries)) > 1


@pytest.mark.parametrize("draw", [art.oil, art.glass])
def test_a_seed_gives_the_same_drawing(inputs: Path, draw: art.Draw) -> None:
    with Image.open(inputs / "products" / "coffee-cup.png") as photo:
        first, again, other = (draw(photo, seed) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert min(first.size) >= 256
