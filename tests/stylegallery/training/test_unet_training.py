"""Windows that swap keys and values."""

import torch

from stylegallery.training.unet import build_unet, null_embedding, skip_cross_attention
from stylegallery.training.unet_training import Student


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
