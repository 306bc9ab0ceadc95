"""Working sizes: from the model's training size to the finest that is wanted and that there is."""

from dataclasses import dataclass

import pytest

from schemas.params import StyleParams
from stylegallery.sampling.sizes import analysis_size, sampling_sizes


@dataclass
class FakeModels:
    """The one thing that working sizes need to know of a model."""

    native_size: int = 256


@pytest.mark.parametrize(
    ("settings", "picture", "sizes"),
    [
        ({}, (1000, 2000), (512,)),
        ({}, (400, 533), (400,)),
        ({}, (300, 400), (256,)),  # too little is gained
        ({}, (100, 100), (256,)),
        ({"scale": 16}, (2048, 3000), (512, 1024, 2048)),
        ({"scale": 16}, (1500, 1500), (512, 876, 1500)),
        ({"scale": 16}, (600, 600), (600,)),
        ({"scale": 1}, (2048, 2048), (256,)),
        ({"scale": 1, "image_size": 512}, (2048, 2048), (512,)),
        ({"image_size": 1024}, (2048, 2048), (512, 1024)),
        ({"image_size": 128}, (2048, 2048), (128,)),
        ({"image_size": 1024}, (512, 512), (512,)),  # never above the photo's own
        ({"sampler": "optimise", "image_size": 512}, (2048, 2048), (512,)),
        ({"method": "styleid"}, (2048, 2048), (256,)),
    ],
)
def test_sampling_sizes(
    settings: dict[str, object], picture: tuple[int, int], sizes: tuple[int, ...]
) -> None:
    params = StyleParams.model_validate(settings)
    assert sampling_sizes(params, FakeModels(), picture) == sizes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("native", "sizes"), [(64, (128, 256, 512)), (512, (512,)), (1024, (1024,))]
)
def test_large_models_begin_at_their_training_size(native: int, sizes: tuple[int, ...]) -> None:
    params = StyleParams(image_size=max(512, native))
    assert sampling_sizes(params, FakeModels(native), (2048, 2048)) == sizes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, 256),
        ({"image_size": 1024}, 256),
        ({"image_size": 128}, 128),
        ({"scale": 1, "image_size": 512}, 512),
    ],
)
def test_regions_are_found_at_the_training_size(settings: dict[str, object], size: int) -> None:
    params = StyleParams.model_validate(settings)
    assert analysis_size(params, FakeModels()) == size  # type: ignore[arg-type]
