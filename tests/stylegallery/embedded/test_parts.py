"""The latent code and its encoder, the patterns, the batches and the null attention."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegallery.embedded import autoencoder, pca
from stylegallery.embedded.data import Mixture, Source, is_held_out, load_folders
from stylegallery.embedded.inverse import BLOCKS, WIDTH, write_inverse
from stylegallery.embedded.patterns import PATTERNS, draw
from stylegallery.embedded.unet import build_unet, null_embedding, skip_cross_attention


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Drawn pictures, (12, 3, 64, 96) uint8."""
    return Mixture([]).batch(0, 0, 12, 96)[:, :, :64]


@pytest.mark.parametrize("channels", [4, 24])
def test_encoder_is_the_linear_code(pixels: torch.Tensor, channels: int) -> None:
    code = pca.fit(pixels, channels)
    vae = autoencoder.build_vae(code, 8, (0, 0, 0, 0)).eval()
    with torch.no_grad():
        encoded = autoencoder.encode(vae, pixels.float() / 255)
    torch.testing.assert_close(encoded, code.encode(pixels.float() / 255), atol=1e-4, rtol=0)


def test_code_is_white_and_survives_float16(pixels: torch.Tensor) -> None:
    code = pca.fit(pixels, 8)
    latents = code.encode(pixels.float() / 255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(
        latents @ latents.T / latents.shape[1], torch.eye(8), atol=0.02, rtol=0
    )
    assert torch.equal(code.weight, code.weight.half().float())


def test_full_code_inverts(pixels: torch.Tensor) -> None:
    code, picture = pca.fit(pixels, 192), pixels.float() / 255
    torch.testing.assert_close(code.decode(code.encode(picture)), picture, atol=5e-3, rtol=0)


@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_every_pattern_has_the_size_and_is_finite(number: int) -> None:
    image = PATTERNS[number](np.random.default_rng(number), 64)
    assert image.shape == (64, 64, 3)
    assert np.isfinite(image).all()


def test_patterns_follow_their_seed() -> None:
    assert np.array_equal(draw(5, 48), draw(5, 48))
    assert not np.array_equal(draw(5, 48), draw(6, 48))
    assert draw(5, 48).dtype == np.uint8


def test_batches_follow_seed_and_step() -> None:
    mixture = Mixture([Source("a", [draw(i, 80) for i in range(3)], 1.0)], patterns=0.5)
    assert torch.equal(mixture.batch(1, 7, 4, 32), mixture.batch(1, 7, 4, 32))
    assert not torch.equal(mixture.batch(1, 7, 4, 32), mixture.batch(1, 8, 4, 32))


def test_held_out_pictures_do_not_train(tmp_path: Path) -> None:
    for i in range(20):
        Image.new("RGB", (100 + i, 60), (i, 0, 0)).save(tmp_path / f"{i}.png")
    train, test = load_folders([tmp_path], 48, 0.2)
    names = [is_held_out(tmp_path / f"{i}.png", 0.2) for i in range(20)]
    assert (len(train), len(test)) == (20 - sum(names), sum(names))
    assert sum(names) > 0
    assert all(min(p.shape[:2]) == 48 for p in train + test)


def test_skipped_cross_attention_changes_nothing() -> None:
    torch.manual_seed(0)
    unet = build_unet(4, (32, 32, 32, 32), 8).eval()
    latents = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        full = unet(latents, 300, encoder_hidden_states=null_embedding(2)).sample
        skip_cross_attention(unet)
        short = unet(latents, 300, encoder_hidden_states=null_embedding(2)).sample
    torch.testing.assert_close(full, short, atol=1e-5, rtol=1e-4)


def test_fresh_decoder_is_the_linear_inverse(pixels: torch.Tensor) -> None:
    torch.manual_seed(0)
    code, picture = pca.fit(pixels, 12), pixels.float() / 255
    vae = autoencoder.build_vae(code, WIDTH, BLOCKS)
    trained = write_inverse(vae, code)
    latents = code.encode(picture)
    with torch.no_grad():
        out, half = autoencoder.decode(vae, latents), trained.half_size(latents)
    assert float((out - code.decode(latents)).square().mean()) < 1e-4  # 40 dB
    assert float((out - half).square().mean()) < 1e-5  # they differ where cells repeat exactly
