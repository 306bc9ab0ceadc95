"""One engine on a tiny random model for all engine tests, and small pictures to feed it."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from schemas.engine import EngineSpec
from schemas.params import LATER, StyleParams
from stylegallery import Picture, StyleGallery
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def engine(tiny_model: Path) -> StyleGallery:
    return StyleGallery.load(EngineSpec(model=str(tiny_model), device="cpu", dtype="float32"))


@pytest.fixture(scope="session")
def exact(engine: StyleGallery) -> StyleGallery:
    """The engine with its UNet in float64: many passes amplify rounding, and processors differ."""
    unet = copy.deepcopy(engine.models.unet).double()
    embedding = engine.models.null_embedding.double()
    models = replace(engine.models, unet=unet, null_embedding=embedding)
    return StyleGallery(models, engine.encoder)


@pytest.fixture(scope="session")
def params() -> StyleParams:
    return StyleParams(
        image_size=64,
        steps=3,
        strength=1.0,
        inversion_steps=3,
        merge_threshold=0.0,
        max_regions=3,
        **LATER,
    )


@pytest.fixture
def calls(engine: StyleGallery, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of the batch of every UNet call from now on."""
    sizes: list[int] = []
    inner = engine.models.unet.forward

    def forward(sample: torch.Tensor, *args: object, **options: object) -> object:
        sizes.append(len(sample))
        return inner(sample, *args, **options)

    monkeypatch.setattr(engine.models.unet, "forward", forward)
    return sizes


def figure_on_ground(
    height: int, width: int, figure: tuple[float, ...], ground: tuple[float, ...], seed: int = 0
) -> Picture:
    """A textured disc on a textured ground: two regions that anything can tell apart."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.linspace(-1, 1, height)[:, None]
    columns = torch.linspace(-1, 1, width)[None]
    disc = (rows**2 + columns**2 < 0.4).float()
    colour = disc * torch.tensor(figure).view(3, 1, 1)
    colour = colour + (1 - disc) * torch.tensor(ground).view(3, 1, 1)
    grain = 0.1 * torch.rand(3, height, width, generator=generator)
    return Picture((colour * 0.9 + grain).clamp(0, 1)[None])
