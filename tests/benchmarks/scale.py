"""Reference values for style distances.

    python -m tests.benchmarks.scale --contents PHOTOS --styles FAMILIES

Gram distances to a reference, divided by that of a product, as in README.md and for the same pairs:
of the reference's other half, of other pictures of its family, and of the autoencoder's copy of it,
a lower limit for pictures that pass the model.
"""

import argparse
from statistics import mean

import numpy as np
from torch import Tensor, nn

from stylegallery.metrics.sets import mean_interval
from stylegallery.metrics.style import gram_distance, style_features
from stylegallery.models.diffusion import Models
from stylegallery.models.lite0 import load_lite0
from stylegallery.models.vae import decode, encode, working_size
from stylegallery.pipeline import StyleGallery
from tests.benchmarks.pictures import Case, cases, picture_parser

_FAMILY = 4


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    options = _parser().parse_args(arguments)
    net, models = load_lite0("cpu"), StyleGallery.load(options.model).models
    found = [
        distances(net, models, case)
        for case in cases(options.contents, options.styles, options.pairs, _FAMILY)
    ]
    print(f"| {len(found)} references | Gram |\n|---|---|")
    for name in found[0]:
        figure = mean_interval(np.array([one[name] for one in found]))
        print(f"| {name} | {figure.value:.3f} ± {(figure.high - figure.low) / 2:.3f} |")


def distances(net: nn.Module, models: Models, case: Case) -> dict[str, float]:
    """Return Gram distances to the first reference, divided by that of the content.

    The distance of halves is the mean over both axes and both directions.
    """
    reference, *family = (picture.pixels for picture in case.references)
    halves = [half for axis in (2, 3) for half in _halves(reference, axis)]
    base = _far(net, reference, [case.content.pixels])
    return {
        "its other half": mean(_far(net, halves[k], [halves[k ^ 1]]) for k in range(len(halves)))
        / base,
        "other pictures of its family": _far(net, reference, family) / base,
        "the autoencoder's copy of it": _far(net, reference, [_copy(models, reference)]) / base,
    }


def _far(net: nn.Module, reference: Tensor, pictures: list[Tensor]) -> float:
    """Return the mean Gram distance of pictures to a reference."""
    wanted = style_features(net, reference)
    return mean(gram_distance(style_features(net, one), wanted) for one in pictures)


def _halves(pixels: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    middle = pixels.shape[axis] // 2
    return pixels.narrow(axis, 0, middle), pixels.narrow(axis, middle, middle)


def _copy(models: Models, pixels: Tensor) -> Tensor:
    height, width = pixels.shape[-2:]
    size = working_size((height, width), min(height, width), models.vae_factor)
    return decode(models, encode(models, pixels, size))


def _parser() -> argparse.ArgumentParser:
    parser = picture_parser("Reference values for style distances.")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--model", default="embedded")
    return parser


if __name__ == "__main__":
    main()
