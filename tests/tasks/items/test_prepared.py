"""Prepared images are stored, loaded exactly, and checked."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.engine import EngineSpec
from schemas.param_groups import ParamGroup
from schemas.params import StyleParams
from stylegallery import StyleGallery
from stylegallery.images.codec import decode
from stylegallery.types import PreparedImage
from tasks.items.prepared import ANALYSIS, load_prepared, prepared_key, save_prepared
from tests.tasks import pictures
from tests.tasks.conftest import PARAMS
from tests.tasks.places import at

PHOTO = decode(pictures.encoded(pictures.noise(), "PNG"), "photo")
LABELS = torch.zeros(PHOTO.size, dtype=torch.int64)
LABELS[:20] = 1
KEY = prepared_key("sha256:1", None, PARAMS, "tiny")
OTHER_KEY = prepared_key("sha256:2", None, PARAMS, "tiny")


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> StyleGallery:
    return StyleGallery.load(EngineSpec(model=str(tiny_model), device="cpu"))


@pytest.fixture(scope="module")
def known(engine: StyleGallery) -> PreparedImage:
    return engine.prepare(PHOTO, PARAMS, LABELS)


def same(one: PreparedImage, other: PreparedImage) -> bool:
    pairs = [(one.latent, other.latent), (one.regions.labels, other.regions.labels)]
    pairs += [(t, vars(other.descriptors)[name]) for name, t in vars(one.descriptors).items()]
    return all(torch.equal(*pair) and pair[0].dtype == pair[1].dtype for pair in pairs)


def test_a_stored_image_is_loaded_exactly(known: PreparedImage, tmp_path: Path) -> None:
    assert load_prepared(at(tmp_path), KEY, PHOTO, torch.device("cpu")) is None
    save_prepared(at(tmp_path), KEY, known)
    again = load_prepared(at(tmp_path), KEY, PHOTO, torch.device("cpu"))
    assert again is not None
    assert again.picture is PHOTO
    assert same(known, again)
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == [f"{KEY}.safetensors"]


@pytest.mark.parametrize(
    "harm",
    [
        "cut", "text", "a part missing", "one too many", "a gap", "another size", "nan",
        "another's", "another number",
    ],
)  # fmt: skip
@pytest.mark.parametrize("sealed", [True, False])
def test_a_damaged_file_is_ignored(
    known: PreparedImage,
    tmp_path: Path,
    harm: str,
    sealed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save_prepared(at(tmp_path), KEY, known)
    (file,) = (tmp_path / "prepared").iterdir()
    tensors = load_file(file)
    if not sealed:  # as older versions wrote it
        del tensors["seal"]
        save_file(tensors, str(file))
        again = load_prepared(at(tmp_path), KEY, PHOTO, torch.device("cpu"))
        assert again is not None
        assert same(known, again)
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    elif harm == "text":
        file.write_text("no numbers at all, and longer than a header's length")
    elif harm == "another's":
        save_prepared(at(tmp_path), OTHER_KEY, known)
        (tmp_path / f"prepared/{OTHER_KEY}.safetensors").replace(file)
    else:
        if harm == "a part missing":
            del tensors["area"]
        elif harm == "one too many":
            tensors["mood"] = torch.zeros(3)
        elif harm == "a gap":
            tensors["labels"] += 1
        elif harm == "another size":
            tensors["labels"] = tensors["labels"][1:].clone()
        elif harm == "another number":
            tensors["latent"][0, 0, 0, 0] += 1
        else:
            tensors["semantic"][0, 0] = float("nan")
        save_file(tensors, str(file))
    told = load_prepared(at(tmp_path), KEY, PHOTO, torch.device("cpu")) is None
    assert told == (sealed or harm != "another number")
    assert ("cannot be used and is computed again" in caplog.text) == told


def test_the_key_covers_all_parameters_that_prepare_reads(engine: StyleGallery) -> None:
    """`prepare` reads the parameters in ANALYSIS and no others."""
    read: set[str] = set()

    class Spy:
        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            value = getattr(self._real, name)
            if isinstance(value, ParamGroup):
                return Spy(value)
            read.add(name)
            return value

    params = PARAMS.model_copy(update={"scale": 2.0})
    engine.prepare(PHOTO, Spy(params), LABELS)  # type: ignore[arg-type]
    assert read == set(ANALYSIS)


def test_keys_are_those_of_before_unless_regions_are_found_at_another_size() -> None:
    def key(**changes: object) -> str:
        return prepared_key("v", None, PARAMS.model_copy(update=changes), "engine")

    assert key(image_size=0, scale=2.0) == key(image_size=0) == key(image_size=0, scale=16.0)
    assert key(image_size=512, scale=2.0) != key(image_size=512)
    assert key(image_size=512, scale=2.0, sampler="optimise") == key(image_size=512)


def test_keys_differ_for_different_inputs() -> None:
    other = {
        "method": "attention-distillation", "image_size": 72, "inversion_steps": 3,
        "max_regions": 4, "merge_threshold": 0.5, "min_region_fraction": 0.1,
    }  # fmt: skip
    assert set(other) == set(ANALYSIS) - {"scale", "sampler"}  # see the test before
    changed = [PARAMS.model_copy(update={name: value}) for name, value in other.items()]
    names = [prepared_key("sha256:1", None, params, "tiny") for params in [PARAMS, *changed]]
    names.append(prepared_key("sha256:2", None, PARAMS, "tiny"))
    names.append(prepared_key("sha256:1", "sha256:1", PARAMS, "tiny"))
    names.append(prepared_key("sha256:1", None, PARAMS, "small"))
    assert len(set(names)) == len(names)
    same = StyleParams.model_validate({**PARAMS.flat(), "steps": 9, "content_weight": 1.0})
    assert prepared_key("sha256:1", None, same, "tiny") == KEY
