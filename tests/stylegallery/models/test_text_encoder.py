"""Prompts through real tokenizers and text encoders: embeddings, long prompts, models without."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from schemas.engine import EngineSpec
from schemas.prompts import PromptParams
from stylegallery import StyleGallery
from stylegallery.errors import UnsupportedModel
from stylegallery.models.diffusion import Models, load_models
from tests.tiny_checkpoint import write_checkpoint
from tests.tiny_model import write_tiny_model, write_tiny_sd15, write_tiny_sdxl

Writer = Callable[[Path], Path]


def load(model: Path, config_folder: Path | str = "") -> Models:
    return load_models(
        EngineSpec(
            model=str(model), config_folder=str(config_folder), device="cpu", dtype="float32"
        )
    )


@pytest.mark.parametrize(("write", "width"), [(write_tiny_sd15, 16), (write_tiny_sdxl, 24)])
def test_words_give_embeddings_of_their_own(tmp_path: Path, write: Writer, width: int) -> None:
    models = load(write(tmp_path / "m"))
    red, silk = models.embedding("red wool"), models.embedding("red silk")
    assert red.embedding.shape == (1, 7, width)
    assert not torch.allclose(red.embedding, silk.embedding, atol=1e-3)
    if models.null_pooled is not None:
        assert red.pooled is not None
        assert silk.pooled is not None
        assert red.pooled.shape == models.null_pooled.shape
        assert not torch.allclose(red.pooled, silk.pooled, atol=1e-3)


def test_the_empty_prompt_is_the_null_embedding(tmp_path: Path) -> None:
    models = load(write_tiny_sd15(tmp_path / "m"))
    assert models.embedding("").embedding is models.null_embedding
    models.prompts.encode([""])
    assert torch.equal(models.prompts.embedding("").embedding, models.null_embedding)


def test_text_encoders_are_loaded_once_for_all_new_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = load(write_tiny_sdxl(tmp_path / "m"))
    loaded: list[str] = []
    load_text = CLIPTextModel.from_pretrained

    def spy(*args: object, **options: object) -> object:
        loaded.append(str(options["subfolder"]))
        return load_text(*args, **options)

    monkeypatch.setattr(CLIPTextModel, "from_pretrained", spy)
    models.prompts.encode(["red", "wool", "red"])
    assert loaded == ["text_encoder"]
    assert not torch.equal(models.embedding("red").embedding, models.embedding("wool").embedding)
    assert loaded == ["text_encoder"]
    models.embedding("silk")
    assert len(loaded) == 2


@pytest.mark.parametrize(
    ("prompt", "word"), [("red wool silk a b", None), ("red wool silk a b, red", "b,")]
)
def test_a_long_prompt_is_cut_and_the_warning_names_the_first_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, prompt: str, word: str | None
) -> None:
    models = load(write_tiny_sd15(tmp_path / "m"))
    with caplog.at_level(logging.WARNING, "stylegallery"):
        made = models.embedding(prompt).embedding
    said = [record.getMessage() for record in caplog.records if "cut off" in record.getMessage()]
    assert len(said) == (0 if word is None else 1)
    assert all(f"is cut off at its word '{word}': the model reads 5" in text for text in said)
    assert torch.allclose(made, models.embedding("red wool silk a b").embedding)


def test_a_single_file_brings_its_text_encoder(tmp_path: Path) -> None:
    folder = write_tiny_sd15(tmp_path / "m")
    path = write_checkpoint(folder, tmp_path / "model.safetensors")
    one = load(path, folder).embedding("red wool").embedding
    assert torch.allclose(one, load(folder).embedding("red wool").embedding)


def test_models_without_text_encoder_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    encoders = write_tiny_sd15(tmp_path / "sd15")
    shutil.copy(folder / "null_embedding.safetensors", encoders)
    path = write_checkpoint(folder, tmp_path / "model.safetensors")
    half = shutil.copytree(encoders, tmp_path / "half")
    shutil.rmtree(half / "tokenizer")
    for models in (load(folder), load(path, encoders), load(half)):
        assert models.embedding("").embedding.shape == (1, 1, 16)
        with pytest.raises(UnsupportedModel, match=r"takes no text \(.*\); leave out prompt"):
            models.embedding("red")


def test_the_embedded_model_takes_no_text() -> None:
    engine = StyleGallery.load(EngineSpec(device="cpu"))
    with pytest.raises(UnsupportedModel, match="model embedded takes no text"):
        engine.models.condition(PromptParams(prompt="red"))


def test_half_precision_text_encoders_compute_in_float32(tmp_path: Path) -> None:
    folder = write_tiny_sd15(tmp_path / "m")
    whole = load(folder).embedding("red").embedding
    weights = folder / "text_encoder" / "model.safetensors"
    save_file(
        {name: tensor.half() for name, tensor in load_file(weights).items()},
        str(weights),
        {"format": "pt"},
    )
    half = load(folder).embedding("red").embedding
    assert half.dtype is torch.float32
    assert torch.allclose(half, whole, atol=1e-2)
