"""Models that are not there are told of before the work."""

from pathlib import Path
from shutil import rmtree

import pytest

from schemas.engine import EngineSpec
from schemas.prompts import PromptParams
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.availability import check_available, check_text
from tests.tiny_model import write_tiny_model, write_tiny_sd15


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"model": "/models/gone"}, "model /models/gone does not exist; check the path"),
        ({"model": "./gone.safetensors"}, "does not exist; check the path"),
        ({"model": "gone.safetensors"}, "is not a local file"),
        ({"model": "C:\\models\\sd15"}, "does not exist; check the path"),
        ({"model": "s3://models/sd15"}, "aws s3 cp --recursive s3://models/sd15 FOLDER"),
        ({"model": "gs://models/sd15"}, "copy gs://models/sd15"),
        ({"model": "owner/not-cached"}, "HF_HUB_OFFLINE is set: unset it, or download it once"),
        ({"loras": ["s3://models/lcm.safetensors"]}, "LoRA s3://models/lcm.safetensors is on an"),
        (
            {"loras": ["styles/gone.safetensors"]},
            "LoRA styles/gone.safetensors is not a local file",
        ),
        ({"encoder": "/models/dino"}, "encoder /models/dino does not exist"),
        ({"depth": "owner/depth"}, "depth model 'owner/depth' is neither a local folder"),
        ({"sam": "/models/sam"}, "SAM /models/sam does not exist"),
    ],
)
def test_what_is_not_there_is_named_with_its_remedy(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ModelNotFound) as error:
        check_available(EngineSpec.model_validate(spec))
    assert message in str(error.value)


def test_a_folder_must_hold_a_models_parts(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "model")
    check_available(EngineSpec(model=str(model)))
    next((model / "unet").glob("*.safetensors")).rename(tmp_path / "away.safetensors")
    with pytest.raises(ModelNotFound, match=r"unet/ has no .safetensors file\); it must be in"):
        check_available(EngineSpec(model=str(model)))
    rmtree(model / "vae")
    with pytest.raises(ModelNotFound, match=r"it lacks vae/config\.json"):
        check_available(EngineSpec(model=str(model)))


def test_with_a_hub_an_id_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EngineSpec(model="owner/name", loras=["owner/lora"], sam="owner/sam")
    with pytest.raises(ModelNotFound):
        check_available(spec)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    check_available(spec)


def test_text_needs_a_text_encoder(tmp_path: Path) -> None:
    silent, told = write_tiny_model(tmp_path / "m"), write_tiny_sd15(tmp_path / "sd15")
    words = PromptParams(prompt="red")
    for model in ("embedded", str(silent)):
        check_text(EngineSpec(model=model), PromptParams())
        with pytest.raises(UnsupportedModel, match=r"it lacks text_encoder and tokenizer\); leave"):
            check_text(EngineSpec(model=model), words)
    for model in (str(told), "owner/name", str(tmp_path / "model.safetensors")):
        check_text(EngineSpec(model=model), words)
    rmtree(told / "tokenizer")
    with pytest.raises(UnsupportedModel, match=r"\(it lacks tokenizer\)"):
        check_text(EngineSpec(model=str(told)), words)
