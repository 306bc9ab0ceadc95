"""Loading: real folders through the real loaders; errors that say what to do."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from schemas.engine import EngineSpec
from stylegallery import StyleGallery, latents
from stylegallery.encoders import DinoEncoder, load_encoder
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.fingerprint import engine_fingerprint
from stylegallery.models import load_models
from tests.tiny_model import write_text_encoder, write_tiny_model


def test_latents_have_the_unets_scale(engine: StyleGallery) -> None:
    pixels = torch.rand(1, 3, 64, 88)
    latent = latents.encode(engine.models, pixels, (64, 88))
    vae = engine.models.vae
    raw = vae.encode(pixels * 2 - 1).latent_dist.mean
    assert torch.allclose(latent, raw * vae.config.scaling_factor, atol=1e-5)
    assert latents.decode(engine.models, latent).shape == (1, 3, 64, 88)


def test_tiny_autoencoders_load_too(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    shutil.rmtree(folder / "vae")
    AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(0, 0, 0, 1),
        num_decoder_blocks=(1, 0, 0, 1),
    ).save_pretrained(folder / "vae")
    engine = StyleGallery.load(str(folder))
    assert latents.encode(engine.models, torch.rand(1, 3, 64, 64), (64, 64)).shape[-2:] == (8, 8)


def test_prompt_embedding_is_computed_when_none_is_stored(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    (folder / "null_embedding.safetensors").unlink()
    write_text_encoder(folder, 16)
    assert load_models(EngineSpec(model=str(folder))).null_embedding.shape == (1, 7, 16)


@pytest.mark.parametrize("missing", ["unet", "vae", "scheduler", "null_embedding.safetensors"])
def test_an_incomplete_folder_is_named(tmp_path: Path, missing: str) -> None:
    folder = write_tiny_model(tmp_path / "m")
    part = folder / missing
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    with pytest.raises(ModelNotFound, match="diffusers layout") as caught:
        load_models(EngineSpec(model=str(folder)))
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("stored", ["a pickle", "another key"])
def test_a_stored_condition_that_cannot_be_used_is_named(tmp_path: Path, stored: str) -> None:
    folder = write_tiny_model(tmp_path / "m")
    file = folder / "null_embedding.safetensors"
    if stored == "a pickle":
        file.write_bytes(pickle.dumps({"null_embedding": [0.0]}))
    else:
        save_file({"embedding": torch.ones(1, 1, 16)}, str(file))
    with pytest.raises(ModelNotFound, match=r"null_embedding.safetensors (is no|lacks the key)"):
        load_models(EngineSpec(model=str(folder)))


def test_a_hub_id_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFound, match="HF_HUB_OFFLINE is set") as caught:
        load_models(EngineSpec(model="somebody/some-model"))
    assert "--model embedded" in str(caught.value)
    with pytest.raises(ModelNotFound, match="--encoder efficientnet-lite0"):
        DinoEncoder("facebook/dinov2-base", torch.device("cpu"))


def test_kinds_that_are_not_known_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps(config | {"_class_name": "VQModel"}))
    with pytest.raises(UnsupportedModel, match="VQModel"):
        load_models(EngineSpec(model=str(folder)))


def test_a_missing_device_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ModelNotFound, match="cuda is not available"):
        load_models(EngineSpec(device="cuda"))


def test_semantic_features_cover_the_frame() -> None:
    encoder = load_encoder("efficientnet-lite0", torch.device("cpu"))
    features = encoder(torch.rand(1, 3, 200, 100))
    assert features.shape == (1, 40 + 112 + 192, 40, 20)
    assert features.isfinite().all()


def test_fingerprint_follows_weights_precision_and_device(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    spec = EngineSpec(model=str(folder))
    first = engine_fingerprint(spec, "cpu")
    assert first == engine_fingerprint(spec, "cpu")
    assert first != engine_fingerprint(spec, "cuda")
    assert first != engine_fingerprint(EngineSpec(model=str(folder), dtype="bfloat16"), "cpu")
    save_file({"null_embedding": torch.ones(1, 1, 16)}, str(folder / "null_embedding.safetensors"))
    assert first != engine_fingerprint(spec, "cpu")


def test_fingerprint_follows_depth_and_sam(tmp_path: Path) -> None:
    plain = engine_fingerprint(EngineSpec(), "cpu")
    assert "depth:" not in plain
    assert "sam:" not in plain
    both = engine_fingerprint(EngineSpec(depth="some/depth", sam="some/sam"), "cpu")
    added = "efficientnet-lite0/depth:some/depth/sam:some/sam/"
    assert both == plain.replace("efficientnet-lite0/", added)
    seen = {plain}
    for text in ("one", "two"):
        (tmp_path / "model.safetensors").write_text(text)
        for kind in ("depth", "sam"):
            spec = EngineSpec.model_validate({kind: str(tmp_path)})
            seen.add(engine_fingerprint(spec, "cpu"))
    assert len(seen) == 1 + 2 * 2


def test_fingerprint_follows_loras_revision_and_the_layout_of_a_file(tmp_path: Path) -> None:
    def named(**spec: object) -> str:
        return engine_fingerprint(EngineSpec.model_validate(spec), "cpu")

    hub = "somebody/some-model"
    assert named(model=hub) != named(model=hub, revision="fp16")
    file, folder = tmp_path / "x.safetensors", tmp_path / "config"
    (folder / "unet").mkdir(parents=True)
    lora = {"model": hub, "loras": [str(file)]}
    assert "lora:somewhere/else@1.0/" in named(model=hub, loras=["somewhere/else"])
    seen = {named(**lora)}
    for text in ("one", "two"):
        file.write_text(text)
        seen |= {named(**lora), named(model=hub, loras=[f"{file}=0.5"]), named(model=str(file))}
        (folder / "unet" / "config.json").write_text(text)
        seen.add(named(model=str(file), config_folder=str(folder)))
    assert len(seen) == 1 + 4 * 2
    before = named(model=str(file), config_folder=str(folder))
    (folder / "unet" / "weights.safetensors").write_text("not used")
    assert named(model=str(file), config_folder=str(folder)) == before
