"""The latent code and its encoder, the patterns, the batches and the null attention."""

import pytest
import torch

from stylegallery.metrics.content import psnr
from stylegallery.training import autoencoder
from stylegallery.training.data import Mixture


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Drawn pictures, (12, 3, 64, 96) uint8."""
    return Mixture([]).batch(0, 0, 12, 96)[:, :, :64]


def test_fresh_autoencoder_is_the_linear_code(pixels: torch.Tensor) -> None:
    torch.manual_seed(0)
    code, picture = autoencoder.fit(pixels, 8), pixels.float() / 255
    vae = autoencoder.build_vae(8, (32, 64, 256), (1, 1, 2))
    autoencoder.write_components(vae, code)
    latents = code.encode(picture)
    assert psnr(autoencoder.encode(vae, picture), latents) > 30
    with torch.no_grad():
        assert psnr(autoencoder.decode(vae, latents), code.decode(latents)) > 40


def test_code_is_half_white(pixels: torch.Tensor) -> None:
    code = autoencoder.fit(pixels, 8)
    latents = code.encode(pixels.float() / 255).transpose(0, 1).flatten(1)
    covariance = latents @ latents.T / latents.shape[1]
    basis = torch.nn.functional.normalize(code.weight, dim=1)
    plain = basis @ torch.nn.functional.unfold(pixels.float() / 255, 8, stride=8)
    deviation = plain.transpose(0, 1).flatten(1).std(dim=1)
    off = covariance - covariance.diag().diag()
    assert float(off.abs().max()) < 0.02
    ratio = covariance.diag() / deviation
    torch.testing.assert_close(ratio, ratio.mean().expand(8), rtol=0.01, atol=0)


def test_full_code_inverts(pixels: torch.Tensor) -> None:
    code, picture = autoencoder.fit(pixels, 192), pixels.float() / 255
    torch.testing.assert_close(code.decode(code.encode(picture)), picture, atol=5e-3, rtol=0)
