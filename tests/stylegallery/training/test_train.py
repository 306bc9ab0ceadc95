"""The training script writes a folder that diffusers loads, resumes, and repeats itself."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderDC, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file

from stylegallery.training.train import main

TINY = ["--side", "64", "--batch", "1", "--channels", "4", "--widths", "32", "32", "32", "32",
        "--vae-widths", "32", "64", "256", "--vae-blocks", "1", "1", "1", "--vae-batch", "2",
        "--vae-side", "32", "--vae-steps", "4", "--decoder-steps", "2", "--crops", "9",
        "--pairs", "1", "--sheet-rows", "1", "--sheet-steps", "2",
        "--threads", "2", "--seed", "3"]  # fmt: skip


def train(out: Path, *more: str) -> None:
    """Run the script on bundled photos and patterns alone."""
    assert main(["--out", str(out), *TINY, *more]) == 0


def unet_weights(out: Path) -> dict[str, torch.Tensor]:
    """Weights of the written UNet by name."""
    return load_file(out / "unet" / "diffusion_pytorch_model.safetensors")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder of a four-step run."""
    out = tmp_path_factory.mktemp("embedded") / "model"
    train(out, "--steps", "4")
    return out


def test_diffusers_loads_every_part(trained: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(trained, subfolder="unet")
    vae = AutoencoderDC.from_pretrained(trained, subfolder="vae")
    scheduler = DDIMScheduler.from_pretrained(trained, subfolder="scheduler")
    null = load_file(trained / "null_embedding.safetensors")["null_embedding"]
    latents = vae.encode(torch.zeros(1, 3, 64, 96)).latent * vae.config.scaling_factor
    out = unet(latents, 500, encoder_hidden_states=null).sample
    assert out.shape == latents.shape == (1, 4, 8, 12)
    assert vae.decode(latents / vae.config.scaling_factor).sample.shape == (1, 3, 64, 96)
    assert scheduler.config.prediction_type == "epsilon"


def test_folder_is_complete_and_says_what_it_is(trained: Path) -> None:
    index = json.loads((trained / "model_index.json").read_text())
    assert index["vae"] == ["diffusers", "AutoencoderDC"]
    card = (trained / "README.md").read_text()
    assert "13 pictures" in card
    assert "PSNR" in card
    assert (trained / "contact_sheet.png").stat().st_size <= 600_000
    assert not list(trained.rglob("*.part"))


def test_resuming_equals_an_unbroken_run(trained: Path, tmp_path: Path) -> None:
    phases = ("--steps", "4", "--phases", "vae", "unet", "decoder")
    train(tmp_path / "m", *phases[:-2], "--stop-after", "2")
    train(tmp_path / "m", "--resume", *phases[:-2])
    train(tmp_path / "m", "--resume", *phases, "drop")
    for name, weight in unet_weights(trained).items():
        torch.testing.assert_close(unet_weights(tmp_path / "m")[name], weight, msg=name)


def test_another_seed_gives_other_weights(trained: Path, tmp_path: Path) -> None:
    train(tmp_path / "m", "--steps", "1", "--seed", "4", "--phases", "vae", "unet", "drop")
    name = "conv_in.weight"
    assert not torch.equal(unet_weights(tmp_path / "m")[name], unet_weights(trained)[name])


def test_a_finished_autoencoder_can_be_kept(trained: Path, tmp_path: Path) -> None:
    kept = ["--autoencoder", str(trained), "--phases", "unet", "drop", "--steps", "2"]
    train(tmp_path / "m", *kept)
    place = Path("vae", "diffusion_pytorch_model.safetensors")
    assert (tmp_path / "m" / place).read_bytes() == (trained / place).read_bytes()
    name = "conv_in.weight"
    assert not torch.equal(unet_weights(tmp_path / "m")[name], unet_weights(trained)[name])


def test_missing_pictures_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures under"):
        train(tmp_path / "m", "--images", str(tmp_path), "--steps", "1")
