"""Depth and SAM in the engine: loaded from folders when asked for, and felt in the regions."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from schemas.engine import EngineSpec
from schemas.methods import Method
from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.depth import DepthEstimator
from stylegallery.models.sam import SamSegmenter
from stylegallery.models.semantic import DinoEncoder
from stylegallery.regions.region_map import RegionMap
from tests.stylegallery.conftest import figure_on_ground
from tests.stylegallery.models.test_depth import write_dpt
from tests.stylegallery.models.test_sam import write_sam

RED, BLUE = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)
REGIONAL: list[Method] = ["stylegallery", "stylegallery-paper"]
CELLS = (16, 20)


def settings(method: Method, **chosen: float) -> StyleParams:
    given = {
        "image_size": 128,
        "scale": 1,
        "inversion_steps": 2,
        "max_regions": 3,
        "min_region_fraction": 0,
    }
    return StyleParams.model_validate({"method": method, **given, **chosen})


@pytest.fixture(scope="module")
def picture() -> Picture:
    return figure_on_ground(128, 160, RED, BLUE)


@pytest.fixture(scope="module")
def sides() -> Tensor:
    """Two halves of the picture, 0 and 1, on the latent grid."""
    return (torch.arange(CELLS[1]) >= CELLS[1] // 2).long().expand(CELLS)


class TwoPlanes(DepthEstimator):
    """Sees the right half near and the left half far; random weights see nothing of the kind."""

    def __init__(self, sides: Tensor) -> None:
        self._sides = sides

    def __call__(self, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        assert grid == CELLS
        return self._sides.float()


class TwoMasks(SamSegmenter):
    """Finds the two halves of the picture, at four times the latent grid."""

    def __init__(self, sides: Tensor) -> None:
        self._sides = sides

    def __call__(self, pixels: Tensor) -> Tensor:
        return 1 + self._sides.repeat_interleave(4, 0).repeat_interleave(4, 1)


class Forbidden:
    """Stands for a model that must not be asked."""

    def __call__(self, *inputs: object) -> Tensor:
        raise AssertionError("asked for what is not used")


def within(regions: RegionMap, parts: Tensor) -> bool:
    """Say whether each region lies in one part (h, w) alone."""
    pairs = torch.stack([regions.labels.flatten(), parts.flatten()], dim=1)
    return len(pairs.unique(dim=0)) == regions.count


def test_an_engine_that_is_not_told_has_neither(engine: StyleGallery) -> None:
    assert engine.depth is None
    assert engine.sam is None


@pytest.mark.parametrize("method", REGIONAL)
def test_regions_do_not_mix_depths(
    engine: StyleGallery, picture: Picture, sides: Tensor, method: Method
) -> None:
    params = settings(method, merge_threshold=0.4)
    told = StyleGallery(engine.models, engine.encoder, TwoPlanes(sides))
    assert not within(engine.prepare(picture, params).regions, sides)
    found = told.prepare(picture, params).regions
    assert found.count > 1
    assert within(found, sides)


def test_regions_do_not_mix_segments(engine: StyleGallery, picture: Picture, sides: Tensor) -> None:
    params = settings("stylegallery", merge_threshold=0)
    told = StyleGallery(engine.models, engine.encoder, sam=TwoMasks(sides))
    assert not within(engine.prepare(picture, params).regions, sides)
    assert within(told.prepare(picture, params).regions, sides)


def test_segments_are_the_regions_of_the_published_method(
    engine: StyleGallery, picture: Picture, sides: Tensor
) -> None:
    params = settings("stylegallery-paper", merge_threshold=0)
    assert engine.prepare(picture, params).regions.count > 1
    told = StyleGallery(engine.models, engine.encoder, sam=TwoMasks(sides))
    # random weights see little difference: at the published 0.5 both halves look alike
    assert told.prepare(picture, params).regions.count == 1


@pytest.mark.parametrize("method", REGIONAL)
def test_the_users_labels_win(
    engine: StyleGallery, picture: Picture, sides: Tensor, method: Method
) -> None:
    told = StyleGallery(engine.models, engine.encoder, TwoPlanes(sides), TwoMasks(sides))
    labels = torch.zeros(picture.size, dtype=torch.int64)
    labels[32:96, 40:120] = 1
    found = told.prepare(picture, settings(method), labels).regions.labels
    fixed = found == found[8, 10]
    assert fixed[4:12, 5:15].all()
    assert fixed.sum() == 8 * 10


@pytest.mark.parametrize("method", ["attention-distillation", "styleid"])
def test_methods_without_regions_do_not_ask(
    engine: StyleGallery, picture: Picture, method: Method
) -> None:
    told = StyleGallery(engine.models, engine.encoder, Forbidden(), Forbidden())  # type: ignore[arg-type]
    assert told.prepare(picture, settings(method)).regions.count == 1


def test_depth_and_sam_come_from_folders(
    tiny_model: Path, tmp_path: Path, engine: StyleGallery, picture: Picture
) -> None:
    torch.manual_seed(0)
    folders = {"depth": str(write_dpt(tmp_path / "d")), "sam": str(write_sam(tmp_path / "s"))}
    spec = {"model": str(tiny_model), "device": "cpu", "dtype": "float32"}
    params = settings("stylegallery", merge_threshold=0)
    plain = engine.prepare(picture, params).regions
    deep = StyleGallery.load(EngineSpec.model_validate(spec | {"depth": folders["depth"]}))
    assert isinstance(deep.depth, DepthEstimator)
    found, depth = deep.prepare(picture, params).regions, deep.depth(picture.pixels, CELLS)
    assert within(found, plain.labels)  # nothing merges at 0: clusters can only be split
    spans = [depth[mask.bool()].quantile(torch.tensor([0.05, 0.95])) for mask in found.one_hot]
    assert all(high - low < 0.75 for low, high in spans)
    told = StyleGallery.load(EngineSpec.model_validate(spec | folders))
    assert isinstance(told.sam, SamSegmenter)
    assert not torch.equal(told.prepare(picture, params).regions.labels, found.labels)


@pytest.mark.parametrize("kind", ["depth", "sam"])
def test_a_folder_that_is_not_there_is_named(tiny_model: Path, tmp_path: Path, kind: str) -> None:
    spec = {"model": str(tiny_model), "device": "cpu", kind: str(tmp_path / "nothing")}
    with pytest.raises(ModelNotFound) as caught:
        StyleGallery.load(EngineSpec.model_validate(spec))
    message = str(caught.value)
    assert message.lower().startswith(f"{kind} model {spec[kind]!r} cannot be loaded")
    assert "\n" not in message
    assert message.endswith(f"or go without {'depth' if kind == 'depth' else 'SAM'}.")


def test_a_model_that_is_no_sam_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = str(write_dpt(tmp_path / "d"))
    with pytest.raises(UnsupportedModel, match="use a SAM model"):
        StyleGallery.load(EngineSpec(model=str(tiny_model), device="cpu", sam=folder))


@pytest.mark.parametrize("kind", ["encoder", "depth", "sam"])
def test_code_in_a_folder_is_neither_run_nor_asked_about(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers would ask on standard input whether to run it."""
    folder, ran = tmp_path / "model", tmp_path / "ran"
    folder.mkdir()
    code = f"open({str(ran)!r}, 'w')\n"
    for name in ("AutoConfig", "AutoModel", "AutoModelForDepthEstimation", "AutoImageProcessor"):
        (folder / f"{name.lower()}.py").write_text(code)
    names = {name: f"{name.lower()}.{name}" for name in ("AutoConfig", "AutoModel")}
    names["AutoModelForDepthEstimation"] = "automodelfordepthestimation.Net"
    config = {"model_type": "unheard-of", "auto_map": names}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    loads = {"encoder": DinoEncoder, "depth": DepthEstimator, "sam": SamSegmenter}
    with pytest.raises(ModelNotFound):
        loads[kind](str(folder), torch.device("cpu"))
    assert not ran.exists()
