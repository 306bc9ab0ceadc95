"""Trains the UNet to predict noise, and on the way to see what EfficientNet-Lite0 sees.

The second task (REPA, arXiv 2410.06940) reads the features of one depth through a small head
that is thrown away afterwards. A denoiser learns what things are late; with it, early.
"""

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from stylegallery.embedded.latent_bank import LatentBank
from stylegallery.embedded.options import Options
from stylegallery.embedded.pca import PATCH
from stylegallery.embedded.runs import Budget, Report, Run, start, train
from stylegallery.embedded.unet import (
    build_scheduler,
    build_unet,
    denoising_errors,
    skip_cross_attention,
)

ALIGNMENT_WEIGHT = 0.5
FEATURES = 112  # channels of EfficientNet-Lite0 at stride 16
READ = 1  # up block that the head reads: its output has two latent cells a side


class Student(nn.Module):
    """The UNet and the head that guesses EfficientNet-Lite0's features."""

    def __init__(self, unet: UNet2DConditionModel, width: int) -> None:
        """Read `width` channels at `up_blocks[READ]`."""
        super().__init__()
        self.unet = unet
        self.head = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1), nn.SiLU(), nn.Conv2d(2 * width, FEATURES, 1)
        )

    def forward(self, noisy: Tensor, timesteps: Tensor, null: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predicted noise (B, C, h, w) and features (B, 112, h / 2, w / 2)."""
        seen: list[Tensor] = []
        hook = self.unet.up_blocks[READ].register_forward_hook(
            lambda module, inputs, output: seen.append(output)
        )
        try:
            noise = self.unet(noisy, timesteps, encoder_hidden_states=null).sample
        finally:
            hook.remove()
        return noise, self.head(seen[0])


def unet_run(options: Options) -> Run:
    """Return the run, from its checkpoint when `options.resume` is set."""
    torch.manual_seed(options.seed)
    unet = build_unet(options.channels, options.widths, options.side // PATCH)
    student: Any = Student(unet, options.widths[-2])
    student.to(options.device, memory_format=torch.channels_last)
    budget = Budget(options.steps, options.minutes, pause=options.stop_after)
    run = start("unet", student, budget, options.rate, options.ema)
    if options.resume:
        run.load(options.state)
    skip_cross_attention(unet)
    return run


def train_unet(run: Run, bank: LatentBank, options: Options, say: Report) -> None:
    """Train on windows of the bank: whole pictures, or more of a half or three quarters' side.

    Attention costs by the square of the cells, so that small windows learn faster.
    """
    alphas = build_scheduler().alphas_cumprod.to(options.device)
    student: Any = run.module

    def draw(step: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(options.seed * 7_000_003 + step)
        small = float(torch.rand(1, generator=generator)) < options.small_share
        quarters = int(torch.randint(2, 4, (1,), generator=generator)) if small else 4
        cells = options.side // PATCH * quarters // 4
        return bank.cut(generator, options.batch * 16 // quarters**2, cells - cells % 2)

    def loss(batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
        latents, wanted = (part.to(options.device) for part in batch)
        noise = torch.randn(latents.shape, generator=generator).to(options.device)
        spread = torch.rand(1, generator=generator) + torch.arange(len(latents)) / len(latents)
        timesteps = (spread % 1.0 * 1000).long().to(options.device)
        errors, seen = denoising_errors(student, alphas, latents, noise, timesteps)
        distance = 1 - F.cosine_similarity(seen.float(), wanted, dim=1).mean()
        run.note(denoising=float(errors.detach().mean()), alignment=float(distance.detach()))
        return errors.mean() + ALIGNMENT_WEIGHT * distance

    train(run, draw, loss, options.seed, options.state, options.save_minutes, say)
