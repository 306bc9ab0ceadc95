"""Windows of the latent bank."""

import torch

from stylegallery.training.latent_bank import LatentBank


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
