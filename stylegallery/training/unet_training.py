"""Train the UNet to predict noise, to predict EfficientNet-Lite0 features, and to share attention.

The second task follows REPA (arXiv 2410.06940): small heads, discarded after training, predict the
features from those of the UNet. Semantic features are predicted where the UNet decides on layout,
texture features where the method reads style. A denoiser alone learns both only late.

The third task is trained in some steps: two windows of one picture are denoised with each other's
keys and values in the layers that the method reads. It prepares these layers for attention
distillation (arXiv 2502.20235), which gives them the keys and values of a reference.
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
"""Whether windows swap keys and values in pairs; latents, semantic and texture features."""
SEMANTIC_WEIGHT, TEXTURE_WEIGHT = 0.5, 0.25
SEMANTIC, TEXTURE = 112, 136  # channels, see LatentBank
SEMANTIC_BLOCK, TEXTURE_BLOCKS = 1, (2, 3)  # up blocks whose outputs the heads read
SMALLEST = 8  # side of a window in cells: the UNet halves it three times


class Student(nn.Module):
    """The UNet, and heads that predict EfficientNet-Lite0 features from its features."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        """Add the heads to a UNet; they read its three up blocks with attention."""
        super().__init__()
        self.unet = unet
        widths = list(reversed(unet.config.block_out_channels))
        self.semantic_head = _head(widths[SEMANTIC_BLOCK], SEMANTIC)
        self.texture_heads = nn.ModuleList(_head(widths[b], TEXTURE) for b in TEXTURE_BLOCKS)

    def swapped(self, noisy: Tensor, timesteps: Tensor, null: Tensor) -> tuple[Tensor, Guesses]:
        """Like `forward`; sample n uses the style layers' keys and values of n + B / 2."""
        with record_attention(self.unet, style_layers(self.unet)) as record:
            half = len(noisy) // 2
            record.attend = lambda name, query, key, value: attend(
                query, key.roll(half, 0), value.roll(half, 0)
            )
            return self.forward(noisy, timesteps, null)

    def forward(self, noisy: Tensor, timesteps: Tensor, null: Tensor) -> tuple[Tensor, Guesses]:
        """Return the predicted noise (B, C, h, w) and predicted semantic and texture features."""
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
    """Train on windows of the bank: whole pictures, or windows of 1/2 or 3/4 of their side.

    The cost of attention grows with the square of the cells, so small windows train faster.
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
        run.record(**dict(zip(("denoising", "semantic", "texture"), parts, strict=True)))
        return total

    first = run.budget.step
    batches = map(draw, itertools.count(first)) if gpu else prefetch(draw, first)
    train(run, batches, step, options.seed, options.state, options.save_minutes, say)


def _noise(latents: Tensor, swap: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return noise like `latents`, and evenly spread timesteps (B,), equal in a swapping pair."""
    anew: Any = {"generator": generator, "device": latents.device}
    levels = len(latents) // 2 if swap else len(latents)
    spread = torch.rand(1, **anew) + torch.arange(levels, device=latents.device) / levels
    timesteps = (spread % 1.0 * 1000).long().repeat(len(latents) // levels)
    return torch.randn(latents.shape, **anew), timesteps
