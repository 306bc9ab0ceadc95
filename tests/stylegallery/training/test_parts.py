"""The latent code and its encoder, the patterns, the batches and the null attention."""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegallery.metrics.content import psnr
from stylegallery.training import autoencoder
from stylegallery.training.cuda_graph import CudaGraphStep, gradients
from stylegallery.training.data import Mixture, Source, is_held_out, load_folders
from stylegallery.training.evaluation import foreground, union_iou
from stylegallery.training.latent_bank import LatentBank
from stylegallery.training.patterns import PATTERNS, draw
from stylegallery.training.unet import build_unet, null_embedding, skip_cross_attention
from stylegallery.training.unet_training import Student


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


def test_windows_of_the_bank_show_the_same_place_in_both() -> None:
    rows, columns = torch.arange(16)[:, None], torch.arange(16)[None]
    latents = (100 * rows + columns).expand(3, 2, 16, 16).half()
    features = latents[:, :1, ::2, ::2]
    bank = LatentBank(latents, features, latents[:, :1])
    cut, semantic, texture = bank.cut(torch.Generator().manual_seed(0), 5, 6)
    assert cut.shape == (5, 2, 6, 6)
    assert torch.equal(cut[:, :1, ::2, ::2], semantic)
    assert torch.equal(cut[:, :1], texture)


def test_windows_of_one_picture_lie_half_a_batch_apart() -> None:
    numbers = torch.arange(6.0)[:, None, None, None].expand(6, 1, 8, 8)
    bank = LatentBank(numbers, numbers[..., :4, :4], numbers)
    windows, *_ = bank.cut(torch.Generator().manual_seed(1), 4, 4, each=2)
    of = windows.mean(dim=(1, 2, 3))
    assert torch.equal(of[:2], of[2:])
    assert of[0] != of[1]


def test_swapped_windows_look_at_each_other() -> None:
    torch.manual_seed(0)
    student = Student(build_unet(4, (32, 32, 32, 32), 16)).eval()
    skip_cross_attention(student.unet)
    one, two, other = torch.randn(3, 1, 4, 16, 16).unbind()
    timesteps = torch.tensor([100, 100])

    def seen(first: torch.Tensor, second: torch.Tensor, swapped: bool) -> torch.Tensor:
        batch = torch.cat([first, second])
        with torch.no_grad():
            denoise = student.swapped if swapped else student
            noise: torch.Tensor = denoise(batch, timesteps, null_embedding(2))[0]
        return noise[0]

    assert torch.allclose(seen(one, one, swapped=True), seen(one, one, swapped=False), atol=1e-5)
    apart = (seen(one, two, swapped=True) - seen(one, other, swapped=True)).abs().mean()
    alone = (seen(one, two, swapped=False) - seen(one, other, swapped=False)).abs().mean()
    assert apart > 100 * alone


def test_foreground_is_found_on_plain_ground_alone() -> None:
    picture = torch.full((3, 64, 64), 0.9)
    picture[:, 16:48, 20:44] = torch.tensor([0.7, 0.1, 0.1])[:, None, None]
    mask = foreground(picture)
    assert mask is not None
    assert mask[16:48, 20:44].all()
    assert mask.sum() == 32 * 24
    assert foreground(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))) is None


def test_union_of_regions_takes_what_helps() -> None:
    labels = torch.tensor([[0, 0, 1, 1], [2, 2, 3, 3]])
    mask = torch.tensor([[True, True, True, False], [False, False, False, False]])
    assert union_iou(labels, mask) == pytest.approx(3 / 4)  # regions 0 and 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_captured_gradients_are_those_of_plain_calls() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.SiLU(), torch.nn.Linear(16, 8))
    module.cuda()

    captured = CudaGraphStep(module, partial(_of, module))
    for twice, count in ((False, 4), (True, 4), (False, 6), (False, 4), (True, 4)):
        batch = [torch.randn(count, 8, device="cuda")]
        values = [v.clone() for v in captured(twice, batch)]
        found = [p.grad.clone() for p in module.parameters() if p.grad is not None]
        other = copy.deepcopy(module)
        plain = gradients(other, partial(_of, other, twice, batch))
        torch.testing.assert_close(values, plain)
        torch.testing.assert_close(found, [p.grad for p in other.parameters()])


def _of(module: torch.nn.Module, twice: bool, batch: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    out = module(batch[0]) * (2 if twice else 1)
    return [out.square().mean(), out.mean()]
