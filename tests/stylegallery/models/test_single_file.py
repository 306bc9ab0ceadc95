"""Single files in the original layout: the same weights as the folder they were made from."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.engine import EngineSpec
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.diffusion import Models, load_models
from tests.tiny_checkpoint import write_checkpoint
from tests.tiny_model import (
    write_text_encoder,
    write_tiny_model,
    write_tiny_sd21,
    write_tiny_sdxl,
)


def load(model: Path, config_folder: Path | str = "") -> Models:
    return load_models(
        EngineSpec(
            model=str(model), config_folder=str(config_folder), device="cpu", dtype="float32"
        )
    )


def without_weights(folder: Path) -> Path:
    """What `--include '*.json' '*.txt'` brings, and a stored null embedding where there is one."""
    kept = folder.with_name("config")
    shutil.copytree(
        folder, kept, ignore=lambda _, names: {n for n in names if n.endswith("model.safetensors")}
    )
    return kept


@pytest.mark.parametrize("write", [write_tiny_model, write_tiny_sd21, write_tiny_sdxl])
def test_a_single_file_equals_its_folder(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    folder = write(tmp_path / "m")
    path = write_checkpoint(folder, tmp_path / "model.safetensors")
    one, other = load(path, without_weights(folder)), load(folder)
    for left, right in ((one.unet, other.unet), (one.vae, other.vae)):
        expected = right.state_dict()
        assert left.state_dict().keys() == expected.keys()
        assert all(torch.equal(v, expected[k]) for k, v in left.state_dict().items())
    assert one.scheduler.config.prediction_type == other.scheduler.config.prediction_type
    latent = torch.randn(1, 4, 8, 8)
    assert torch.allclose(one.denoise(latent, 300), other.denoise(latent, 300))


def test_the_files_own_text_encoder_reads_the_empty_prompt(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    (folder / "null_embedding.safetensors").unlink()
    write_text_encoder(folder, 16)
    path = write_checkpoint(folder, tmp_path / "model.safetensors")
    one = load(path, without_weights(folder))
    assert one.null_embedding.shape == (1, 7, 16)
    assert torch.allclose(one.null_embedding, load(folder).null_embedding)


def test_without_a_layout_the_error_says_where_to_get_it(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    path = write_checkpoint(folder, tmp_path / "model.safetensors")
    with pytest.raises(ModelNotFound, match="set config_folder") as caught:
        load(path)
    assert "hf download stable-diffusion-v1-5/" in str(caught.value)


def test_a_useless_layout_is_named(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    path = write_checkpoint(folder, tmp_path / "model.safetensors")
    shutil.rmtree(folder / "vae")
    with pytest.raises(ModelNotFound, match="at least its json and txt files") as caught:
        load(path, folder)
    assert str(folder) in str(caught.value)


def test_a_layout_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(write_tiny_model(tmp_path / "m"), tmp_path / "model.safetensors")
    for number, other in enumerate((write_tiny_sdxl, write_tiny_sd21)):
        with pytest.raises(UnsupportedModel, match="does not have the layout"):
            load(path, other(tmp_path / f"other{number}"))


def test_weights_that_are_missing_are_noticed(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    path = write_checkpoint(folder, tmp_path / "model.safetensors")
    tensors = load_file(path)
    del tensors["first_stage_model.quant_conv.bias"]
    save_file(tensors, str(path))
    with pytest.raises(UnsupportedModel, match="tensors under first_stage_model"):
        load(path, folder)


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "MODEL.CKPT", "model.bin"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n")
    with pytest.raises(UnsupportedModel, match=r"pickle.*use the model's \.safetensors"):
        load(tmp_path / name)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(ModelNotFound, match="check the path"):
        load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelNotFound, match="cannot be read"):
        load(path)
    save_file({"lora": torch.zeros(1)}, str(path))
    with pytest.raises(UnsupportedModel, match="list a LoRA under `loras`"):
        load(path)
