"""Working sizes: from the model's training size to the finest that is wanted and that there is."""

from dataclasses import dataclass

import pytest

from schemas.params import StyleParams
from stylegallery.sampling.sizes import working_sizes


@dataclass
class FakeModels:
    """The one thing that working sizes need to know of a model."""

    native_size: int = 256


@pytest.mark.parametrize(
    ("settings", "picture", "sizes"),
    [
        ({}, (1000, 2000), (256, 512)),
        ({}, (400, 533), (256, 400)),
        ({}, (300, 400), (256,)),  # too little is gained
        ({}, (100, 100), (256,)),
        ({"scale": 16}, (2048, 3000), (256, 512, 1024, 2048)),
        ({"scale": 16}, (1500, 1500), (256, 462, 832, 1500)),
        ({"scale": 1}, (2048, 2048), (256,)),
        ({"scale": 1, "image_size": 512}, (2048, 2048), (512,)),
        ({"image_size": 1024}, (2048, 2048), (256, 512, 1024)),
        ({"image_size": 128}, (2048, 2048), (128,)),
        ({"image_size": 1024}, (512, 512), (256, 512)),  # never above the photo's own
        ({"sampler": "optimise", "image_size": 512}, (2048, 2048), (512,)),
        ({"method": "styleid"}, (2048, 2048), (256,)),
    ],
)
def test_working_sizes(
    settings: dict[str, object], picture: tuple[int, int], sizes: tuple[int, ...]
) -> None:
    assert working_sizes(StyleParams(**settings), FakeModels(), picture) == sizes  # type: ignore[arg-type]
