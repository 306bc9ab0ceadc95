"""The demo's product photos and galleries, made from photos of scikit-image and scikit-learn."""

import io
from importlib.resources import files
from pathlib import Path
from typing import Final

from PIL import Image

from flows.cli.demo import art

PRODUCTS: Final = {
    "coffee-cup": ("skimage", "data/coffee.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "space-suit": ("skimage", "data/astronaut.png"),
    "tabby-cat": ("skimage", "data/chelsea.png"),
}
"""By product id: the package that ships the photo, and its path there."""

_SCENES: Final = {
    "pagoda": ("sklearn", "datasets/images/china.jpg"),
    "dahlia": ("sklearn", "datasets/images/flower.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
}
_GALLERIES: Final[dict[str, tuple[art.Draw, tuple[str, ...]]]] = {
    "oil": (art.oil, ("pagoda", "dahlia", "rocket")),
    "glass": (art.glass, ("dahlia", "rocket")),
}
"""By gallery id: the function that draws its references, and the scenes to draw."""


def write_inputs(folder: Path) -> tuple[Path, Path]:
    """Write product photos and references into `folder`; the bytes are always the same.

    Returns:
        The folder of the product photos, and the folder of the galleries.
    """
    products, galleries = folder / "products", folder / "galleries"
    products.mkdir(parents=True, exist_ok=True)
    for name, source in PRODUCTS.items():
        _photo(source).save(products / f"{name}.png")
    for gallery, (draw, scenes) in _GALLERIES.items():
        (galleries / gallery).mkdir(parents=True, exist_ok=True)
        for seed, scene in enumerate(scenes):
            path = galleries / gallery / f"{scene}.png"
            draw(_photo(_SCENES[scene]), seed).save(path)
    return products, galleries


def _photo(source: tuple[str, str]) -> Image.Image:
    package, path = source
    data = files(package).joinpath(path).read_bytes()
    return Image.open(io.BytesIO(data)).convert("RGB")
