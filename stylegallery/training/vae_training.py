"""Train the autoencoder: first encoder and decoder together, later the decoder alone.

Gaussian noise is added to the latents. So the encoder uses its range for visible detail, and the
decoder tolerates the noise that optimization leaves in latents.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderDC
from torch import Tensor, nn
from torch.nn import functional as F

from stylegallery.models.lite0 import lite0_features, load_lite0
from stylegallery.training.autoencoder import PatchCode, build_vae, decode, encode, write_components
from stylegallery.training.cuda_graph import gradients
from stylegallery.training.data import Mixture
from stylegallery.training.loop import Budget, Report, Run, prefetch, start, train
from stylegallery.training.options import Options

BLOCKS = (2, 4, 10)  # strides 4, 8 and 16
Loss = Callable[[Tensor, torch.Generator], Tensor]
JOINT_NOISE, DECODER_NOISE = 0.15, 0.2  # largest standard deviation; latents have about 1
PERCEPTUAL_WEIGHT = 0.3  # a larger weight gives crisper textures and a lower PSNR
SPREAD_WEIGHT = 1e-3  # keeps the latents near unit variance


class PerceptualLoss(nn.Module):
    """Mean squared distance of unit-length features, summed over three depths."""

    def __init__(self) -> None:
        super().__init__()
        self.net = load_lite0("cpu")

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        """Return the distance of pictures (B, 3, H, W) in [0, 1]; gradients flow to `out` only."""
        with torch.no_grad():
            wanted = [F.normalize(f, dim=1) for f in lite0_features(self.net, target, BLOCKS)]
        seen = [F.normalize(f, dim=1) for f in lite0_features(self.net, out, BLOCKS)]
        parts = [(a - b).square().sum(1).mean() for a, b in zip(seen, wanted, strict=True)]
        return torch.stack(parts).sum()


def vae_run(options: Options, code: PatchCode) -> Run:
    """Return the joint run, from its checkpoint if `options.resume` is set."""
    torch.manual_seed(options.seed)
    vae = build_vae(options.channels, options.vae_widths, options.vae_blocks)
    write_components(vae, code)
    budget = Budget(options.vae_steps, options.vae_minutes, pause=options.stop_after)
    return _start("vae", vae, budget, options)


def decoder_run(options: Options, vae: AutoencoderDC) -> Run:
    """Return the run of the decoder alone, from its checkpoint if `options.resume` is set."""
    vae.requires_grad_(False).decoder.requires_grad_(True)
    budget = Budget(options.decoder_steps, options.decoder_minutes, pause=options.stop_after)
    return _start("decoder", vae, budget, options)


def train_vae(run: Run, mixture: Mixture, options: Options, say: Report) -> None:
    """Train encoder and decoder on squared error."""
    _train(run, mixture, partial(_joint_loss, run.module, options.device), options, say)


def train_decoder(run: Run, mixture: Mixture, options: Options, say: Report) -> None:
    """Train the decoder on squared error and on features of EfficientNet-Lite0."""
    perceptual = PerceptualLoss().to(options.device)
    _train(run, mixture, partial(_decoder_loss, run.module, perceptual, options.device), options,
           say)  # fmt: skip


def _start(name: str, vae: AutoencoderDC, budget: Budget, options: Options) -> Run:
    vae.to(options.device, memory_format=torch.channels_last)
    run = start(name, vae, budget, options.vae_rate, options.ema)
    if options.resume:
        run.load(options.state)
    return run


def _train(run: Run, mixture: Mixture, loss: Loss, options: Options, say: Report) -> None:
    offset = {"vae": 5, "decoder": 7}[run.name] * 10**8  # other batches than the latent bank's

    def draw(step: int) -> Tensor:
        return mixture.batch(options.seed, offset + step, options.vae_batch, options.vae_side)

    def step(pixels: Tensor, generator: torch.Generator) -> Tensor:
        return gradients(run.module, lambda: [loss(pixels, generator)])[0]

    batches = prefetch(draw, run.budget.step)
    train(run, batches, step, options.seed, options.state, options.save_minutes, say)


def _joint_loss(
    vae: AutoencoderDC, device: str, pixels: Tensor, generator: torch.Generator
) -> Tensor:
    target = _prepare(pixels, device)
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        latents = vae.encoder(target * 2 - 1).float()
        out = decode(vae, latents + _noise(latents, JOINT_NOISE, generator))
    spread = (latents.square().mean() - 1).square()
    loss: Tensor = 100 * (out - target).square().mean() + SPREAD_WEIGHT * spread
    return loss


def _decoder_loss(
    vae: AutoencoderDC, perceptual: PerceptualLoss, device: str, pixels: Tensor,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    target = _prepare(pixels, device)
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        latents = encode(vae, target).float()
        out = decode(vae, latents + _noise(latents, DECODER_NOISE, generator))
    loss: Tensor = 100 * (out - target).square().mean()
    loss = loss + PERCEPTUAL_WEIGHT * perceptual(out, target)
    return loss


def _prepare(pixels: Tensor, device: str) -> Tensor:
    scaled = pixels.to(device).float() / 255
    return scaled.contiguous(memory_format=torch.channels_last)


def _noise(latents: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Return noise of random strength per picture; a third of the pictures get none."""
    anew: Any = {"generator": generator, "device": latents.device}
    share = torch.rand(len(latents), 1, 1, 1, **anew)
    sigma = largest * (share * 1.5 - 0.5).clamp_min(0)
    return torch.randn(latents.shape, **anew) * sigma
