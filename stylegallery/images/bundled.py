"""The photos that ship with scikit-image and scikit-learn: pictures for use without a network."""

from importlib.resources import files
from pathlib import Path

_PLACES = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)


def bundled_photos() -> list[Path]:
    """Return the paths of six photos: a person, a cat, a cup, a rocket, a pagoda and a flower."""
    return [Path(str(files(package).joinpath(path))) for package, path in _PLACES]
