"""Trains the UNet to predict noise, and on the way to see what EfficientNet-Lite0 sees.

The second task (REPA, arXiv 2410.06940) reads the UNet's features through small heads that are
thrown away afterwards: what a thing is where the UNet decides on layout, what it is made of where
the method reads style. A denoiser alone learns both late.

In some steps a third comes on top: two windows of one picture are denoised with each other's keys
and values in the layers that the method reads. Attention distillation asks what a layer would say
if it looked at a reference; this teaches those layers to draw on another picture's texture.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from stylegallery.models.attention import attend, record_attention, style_layers
from stylegallery.training.autoencoder import PATCH
from stylegallery.training.cuda_graph import CudaGraphStep, gradients
from stylegallery.training.latent_bank import LatentBank
from stylegallery.training.loop import Budget, Report, Run, prefetch, start, train
from stylegallery.training.options import Options
from stylegallery.training.unet import (
    build_scheduler,
    build_unet,
    denoising_errors,
    skip_cross_attention,
)

Guesses = tuple[Tensor, list[Tensor]]
Windows = tuple[bool, tuple[Tensor, Tensor, Tensor]]
"""Whether they come in pairs that swap keys and values; latents, things and textures."""
SEMANTIC_WEIGHT, TEXTURE_WEIGHT = 0.5, 0.25
SEMANTIC, TEXTURE = 112, 136  # channels, see LatentBank
SEMANTIC_BLOCK, TEXTURE_BLOCKS = 1, (2, 3)  # up blocks that are read
SMALLEST = 8  # cells a side of a window: half of it three times is still a cell


class Student(nn.Module):
    """The UNet and the heads that guess EfficientNet-Lite0's features from its own."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        """Read the outputs of the three up blocks that hold attention."""
        super().__init__()
        self.unet = unet
        widths = list(reversed(unet.config.block_out_channels))
        self.semantic_head = _head(widths[SEMANTIC_BLOCK], SEMANTIC)
        self.texture_heads = nn.ModuleList(_head(widths[b], TEXTURE) for b in TEXTURE_BLOCKS)

    def swapped(self, noisy: Tensor, timesteps: Tensor, null: Tensor) -> tuple[Tensor, Guesses]:
        """As :meth:`forward`, sample n with the style layers' keys and values of n + B / 2."""
        with record_attention(self.unet, style_layers(self.unet)) as record:
            half = len(noisy) // 2
            record.attend = lambda name, query, key, value: attend(
                query, key.roll(half, 0), value.roll(half, 0)
            )
            return self.forward(noisy, timesteps, null)

    def forward(self, noisy: Tensor, timesteps: Tensor, null: Tensor) -> tuple[Tensor, Guesses]:
        """Return the predicted noise (B, C, h, w) and the guesses of things and textures."""
        seen: dict[int, Tensor] = {}
        hooks = [
            self.unet.up_blocks[block].register_forward_hook(
                lambda module, inputs, output, block=block: seen.update({block: output})
            )
            for block in (SEMANTIC_BLOCK, *TEXTURE_BLOCKS)
        ]
        try:
            noise = self.unet(noisy, timesteps, encoder_hidden_states=null).sample
        finally:
            for hook in hooks:
                hook.remove()
        texture = [
            head(seen[block])
            for head, block in zip(self.texture_heads, TEXTURE_BLOCKS, strict=True)
        ]
        return noise, (self.semantic_head(seen[SEMANTIC_BLOCK]), texture)


def _head(width: int, channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(width, 2 * width, 1), nn.SiLU(), nn.Conv2d(2 * width, channels, 1)
    )


def unet_run(options: Options) -> Run:
    """Return the run, from its checkpoint when `options.resume` is set."""
    torch.manual_seed(options.seed)
    unet = build_unet(options.channels, options.widths, options.side // PATCH)
    student: Any = Student(unet)
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
    bank = bank.to(options.device)

    def draw(step: int) -> Windows:
        generator = torch.Generator().manual_seed(options.seed * 7_000_003 + step)
        small = float(torch.rand(1, generator=generator)) < options.small_share
        quarters = int(torch.randint(2, 4, (1,), generator=generator)) if small else 4
        swap = small and float(torch.rand(1, generator=generator)) < options.swap_share
        whole = options.side // PATCH
        cells = max(min(whole, SMALLEST), whole * quarters // 4)
        count, each = options.batch * whole**2 // cells**2, 2 if swap else 1
        return swap, bank.cut(generator, max(count // each, 1) * each, cells - cells % 2, each)

    def loss(swap: bool, parts: Sequence[Tensor]) -> Sequence[Tensor]:
        latents, semantic, texture, noise, timesteps = parts
        denoise = student.swapped if swap else student
        errors, guesses = denoising_errors(denoise, alphas, latents, noise, timesteps)
        apart = 1 - F.cosine_similarity(guesses[0].float(), semantic, dim=1).mean()
        off = torch.stack([F.mse_loss(guess.float(), texture) for guess in guesses[1]]).mean()
        mean = errors.mean()
        return mean + SEMANTIC_WEIGHT * apart + TEXTURE_WEIGHT * off, mean, apart, off

    def plain(swap: bool, parts: Sequence[Tensor]) -> list[Tensor]:
        return gradients(student, lambda: loss(swap, parts))

    gpu = options.device != "cpu"
    apply = CudaGraphStep(student, loss) if gpu else plain

    def step(batch: Windows, generator: torch.Generator) -> Tensor:
        swap, windows = batch
        total, *parts = apply(swap, (*windows, *_noise(windows[0], swap, generator)))
        run.note(**dict(zip(("denoising", "things", "textures"), parts, strict=True)))
        return total

    first = run.budget.step
    batches = map(draw, itertools.count(first)) if gpu else prefetch(draw, first)
    train(run, batches, step, options.seed, options.state, options.save_minutes, say)


def _noise(latents: Tensor, swap: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return noise like `latents`, and timesteps (B,) spread evenly, the same for a swap's two."""
    anew: Any = {"generator": generator, "device": latents.device}
    levels = len(latents) // 2 if swap else len(latents)
    spread = torch.rand(1, **anew) + torch.arange(levels, device=latents.device) / levels
    timesteps = (spread % 1.0 * 1000).long().repeat(len(latents) // levels)
    return torch.randn(latents.shape, **anew), timesteps
