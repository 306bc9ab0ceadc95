"""SD 1.x, SD 2.1 and SDXL: folders of each kind through the real loaders and through the UNet."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderDC
from safetensors.torch import save_file

from schemas.engine import EngineSpec
from stylegallery import Picture, StyleGallery
from stylegallery.errors import UnsupportedModel
from stylegallery.models import vae
from stylegallery.models.attention import grid_size, record_attention, style_layers
from stylegallery.models.diffusion import Models, load_models
from stylegallery.models.inversion import inversion_features
from tests.tiny_model import write_tiny_model, write_tiny_sd21, write_tiny_sdxl

Writer = Callable[[Path], Path]


def load(folder: Path) -> Models:
    return load_models(EngineSpec(model=str(folder), device="cpu", dtype="float32"))


@pytest.mark.parametrize(
    ("write", "blocks", "layers", "native"),
    [
        (write_tiny_model, {"up_blocks.2", "up_blocks.3"}, 4, 64),
        (write_tiny_sd21, {"up_blocks.2", "up_blocks.3"}, 4, 64),
        (write_tiny_sdxl, {"up_blocks.0", "up_blocks.1"}, 6, 128),
    ],
)
def test_every_family_goes_all_the_way(
    tmp_path: Path, write: Writer, blocks: set[str], layers: int, native: int
) -> None:
    models = load(write(tmp_path / "m"))
    assert models.vae_factor == 8
    assert models.native_size == native
    pixels = torch.rand(1, 3, 64, 88)
    latent = vae.encode(models, pixels, (64, 88))
    assert latent.shape == (1, 4, 8, 11)
    assert vae.decode(models, latent).shape == (1, 3, 64, 88)
    names = style_layers(models.unet)
    assert len(names) == layers
    assert {name[:11] for name in names} == blocks
    with record_attention(models.unet, names) as record, torch.no_grad():
        recorded = models.denoise(latent, 300)
    assert list(record.layers) == names
    assert torch.allclose(recorded, models.denoise(latent, 300), atol=1e-5)
    for layer in record.layers.values():
        grid_size(layer.query.shape[2], (8, 11))  # raises where no level has that many tokens
    features = inversion_features(models, latent, 3)
    assert features.shape[-2:] == (8, 11)
    assert features.isfinite().all()


@pytest.mark.parametrize("write", [write_tiny_sd21, write_tiny_sdxl])
def test_a_picture_is_prepared(tmp_path: Path, write: Writer) -> None:
    engine = StyleGallery(load(write(tmp_path / "m")), lambda pixels: torch.rand(1, 6, 5, 5))
    prepared = engine.prepare(Picture(torch.rand(1, 3, 64, 64)))
    assert prepared.latent.shape[-2:] == prepared.regions.labels.shape


def test_a_velocity_is_inverted_as_a_velocity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = load(write_tiny_sd21(tmp_path / "m"))
    assert models.scheduler.config.prediction_type == "v_prediction"
    seen: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    denoise: Callable[[torch.Tensor, int], torch.Tensor] = models.denoise

    def spy(_self: object, latent: torch.Tensor, timestep: int) -> torch.Tensor:
        seen.append((timestep, latent, denoise(latent, timestep)))
        return seen[-1][2]

    monkeypatch.setattr(Models, "denoise", spy)
    inversion_features(models, torch.randn(1, 4, 8, 8), 5)
    alphas = models.scheduler.alphas_cumprod
    for (timestep, before, velocity), (_, after, _) in itertools.pairwise(seen):
        here, there = alphas[max(0, timestep - 200)], alphas[timestep]
        clean = here.sqrt() * before - (1 - here).sqrt() * velocity
        noise = here.sqrt() * velocity + (1 - here).sqrt() * before
        assert torch.allclose(after, there.sqrt() * clean + (1 - there).sqrt() * noise, atol=1e-4)


def test_sdxl_is_told_nothing_and_the_working_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = load(write_tiny_sdxl(tmp_path / "m"))
    assert models.null_pooled is not None
    assert models.null_embedding.shape[-1] == 24
    assert not models.null_embedding.any()
    assert models.null_pooled.shape == (1, 12)
    assert not models.null_pooled.any()
    told: list[dict[str, torch.Tensor]] = []
    forward = models.unet.forward

    def spy(*args: object, added_cond_kwargs: dict[str, torch.Tensor], **kwargs: object) -> object:
        told.append(added_cond_kwargs)
        return forward(*args, added_cond_kwargs=added_cond_kwargs, **kwargs)

    monkeypatch.setattr(models.unet, "forward", spy)
    models.denoise(torch.randn(2, 4, 8, 11), 300)
    assert told[0]["time_ids"].tolist() == [[64, 88, 0, 0, 64, 88]] * 2
    assert told[0]["text_embeds"].shape == (2, 12)


def test_one_zero_token_stands_for_all(tmp_path: Path) -> None:
    folder = write_tiny_sdxl(tmp_path / "m")
    latent = torch.randn(1, 4, 8, 8)
    one = load(folder).denoise(latent, 300)
    save_file({"null_embedding": torch.zeros(1, 7, 24)}, str(folder / "null_embedding.safetensors"))
    assert torch.allclose(one, load(folder).denoise(latent, 300), atol=1e-6)


def test_sdxl_without_forced_zeros_reads_both_text_encoders(tmp_path: Path) -> None:
    folder = write_tiny_sdxl(tmp_path / "m", force_zeros=False)
    models = load(folder)
    assert models.null_pooled is not None
    assert models.null_embedding.shape == (1, 7, 16 + 8)
    assert models.null_pooled.shape == (1, 12)
    assert models.null_embedding[..., :16].any()
    assert models.null_embedding[..., 16:].any()
    assert models.null_pooled.any()
    stored = {"null_embedding": torch.ones(1, 2, 24), "pooled": torch.full((1, 12), 2.0)}
    save_file(stored, str(folder / "null_embedding.safetensors"))
    models = load(folder)
    assert models.null_pooled is not None
    assert models.null_embedding.shape == (1, 2, 24)
    assert models.null_pooled.unique().tolist() == [2.0]


def test_another_samplers_settings_become_ddims(tmp_path: Path) -> None:
    scheduler = load(write_tiny_sdxl(tmp_path / "m")).scheduler
    assert type(scheduler).__name__ == "DDIMScheduler"
    assert not scheduler.config.clip_sample
    assert scheduler.config.timestep_spacing == "leading"
    assert scheduler.config.beta_end == 0.012


def test_deep_compression_autoencoders_load_too(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m", in_channels=16, out_channels=16)
    shutil.rmtree(folder / "vae")
    AutoencoderDC(
        latent_channels=16,
        attention_head_dim=8,
        encoder_block_out_channels=(8, 8, 16, 16),
        decoder_block_out_channels=(8, 8, 16, 16),
        encoder_layers_per_block=(1,) * 4,
        decoder_layers_per_block=(1,) * 4,
        encoder_qkv_multiscales=((),) * 4,
        decoder_qkv_multiscales=((),) * 4,
        scaling_factor=0.5,
    ).save_pretrained(folder / "vae")
    models = load(folder)
    assert models.vae_factor == 8
    pixels = torch.rand(1, 3, 64, 88)
    latent = vae.encode(models, pixels, (64, 88))
    assert latent.shape == (1, 16, 8, 11)
    assert torch.allclose(latent, models.vae.encode(pixels * 2 - 1).latent * 0.5, atol=1e-5)
    assert vae.decode(models, latent).shape == (1, 3, 64, 88)
    assert models.denoise(latent, 300).shape == latent.shape


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda f: (f / "unet").rename(f / "transformer"), "transformer instead of a UNet"),
        (lambda f: change(f / "unet" / "config.json", _class_name="UNet1DModel"), "UNet1DModel"),
        (lambda f: change(f / "model_index.json", requires_aesthetics_score=True), "refiner"),
        (lambda f: change(f / "vae" / "config.json", _class_name="VQModel"), "VQModel"),
    ],
)
def test_models_of_other_kinds_are_refused(
    tmp_path: Path, broken: Callable[[Path], object], message: str
) -> None:
    folder = write_tiny_model(tmp_path / "m")
    broken(folder)
    with pytest.raises(UnsupportedModel, match=message) as caught:
        load(folder)
    assert "use " in str(caught.value)


@pytest.mark.parametrize(
    ("unet", "message"),
    [
        ({"in_channels": 9}, "takes 9 channels, but its autoencoder gives 4"),
        ({"addition_embed_type": "text"}, r"extra conditions \(text\)"),
    ],
)
def test_unets_that_want_more_are_refused(
    tmp_path: Path, unet: dict[str, object], message: str
) -> None:
    folder = write_tiny_model(tmp_path / "m", **unet)
    with pytest.raises(UnsupportedModel, match=message):
        load(folder)
