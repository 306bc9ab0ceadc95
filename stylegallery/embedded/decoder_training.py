"""Trains the decoder's free blocks: away with block edges and with noise in the latents.

Whatever else the decoder holds is the exact linear inverse of the code, see ``inverse.py``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import nn

from stylegallery.embedded.autoencoder import build_vae
from stylegallery.embedded.data import Mixture
from stylegallery.embedded.inverse import BLOCKS, WIDTH, Trained, write_inverse
from stylegallery.embedded.options import Options
from stylegallery.embedded.pca import PatchCode
from stylegallery.embedded.runs import (
    Budget,
    Clock,
    LossLog,
    Report,
    load_state,
    prefetch,
    save_state,
)
from stylegallery.embedded.unet import Average

CHECKPOINT = "decoder.pt"
NOISE = 0.6  # largest standard deviation of the noise added to unit-variance latents
STEP_OFFSET = 5 * 10**8  # decoder batches lie apart from the UNet's


@dataclass
class DecoderRun:
    """Everything a decoder run resumes from."""

    vae: AutoencoderTiny
    trained: Trained
    average: Average
    optimiser: torch.optim.AdamW
    budget: Budget

    def save(self, folder: Path) -> None:
        """Write the checkpoint."""
        state = {
            "decoder": self.vae.decoder.state_dict(),
            "average": self.average.module.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
            "step": self.budget.step,
            "seconds": self.budget.seconds,
        }
        save_state(folder / CHECKPOINT, state)

    def finished(self) -> AutoencoderTiny:
        """The autoencoder with the averaged decoder."""
        nn.ModuleList(self.trained.blocks).load_state_dict(self.average.module.state_dict())
        return self.vae


def start(options: Options, code: PatchCode) -> DecoderRun:
    """A new run, or the one in the checkpoint when ``options.resume`` is set."""
    torch.manual_seed(options.seed + 1)
    vae = build_vae(code, WIDTH, BLOCKS)
    trained = write_inverse(vae, code)
    vae.to(options.device, memory_format=torch.channels_last)
    blocks = nn.ModuleList(trained.blocks)
    optimiser = torch.optim.AdamW(
        blocks.parameters(), options.decoder_rate, (0.9, 0.99), weight_decay=0.0, fused=True
    )
    budget = Budget(options.decoder_steps, options.decoder_minutes, pause=options.stop_after)
    run = DecoderRun(vae, trained, Average(blocks, options.ema), optimiser, budget)
    state = load_state(options.state / CHECKPOINT) if options.resume else None
    if state:
        vae.decoder.load_state_dict(state["decoder"])
        run.average.module.load_state_dict(state["average"])
        run.average.updates = state["updates"]
        optimiser.load_state_dict(state["optimiser"])
        run.budget.step, run.budget.seconds = state["step"], state["seconds"]
    return run


def train(run: DecoderRun, mixture: Mixture, code: PatchCode, options: Options,
          say: Report) -> None:  # fmt: skip
    """Train until the budget is used up; saves every ``drop_minutes`` and at the end."""
    log, clock, saved = LossLog(options.state), Clock(), time.monotonic()
    code, recent = code.to(options.device), 0.0
    try:
        batches = prefetch(lambda step: _pixels(mixture, options, step), run.budget.step)
        while not run.budget.over:
            recent += _step(run, next(batches), code, options)
            clock.tick(run.budget)
            if run.budget.step % 25 == 0:
                log.write(phase="decoder", step=run.budget.step, loss=round(recent / 25, 5),
                          minutes=round(run.budget.seconds / 60, 2))  # fmt: skip
                say(f"decoder step {run.budget.step} loss {recent / 25:.4f} "
                    f"{run.budget.seconds / 60:.1f} min")  # fmt: skip
                recent = 0.0
            if time.monotonic() - saved > 60 * options.drop_minutes:
                run.save(options.state)
                saved = time.monotonic()
    finally:
        run.save(options.state)


def reconstruction_loss(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Smooth L1 of the picture plus that of its horizontal and vertical differences.

    Args:
        out: (B, 3, H, W).
        target: (B, 3, H, W), same range.
    """
    error = out - target
    rows, columns = error[:, :, 1:] - error[:, :, :-1], error[..., 1:] - error[..., :-1]
    parts = [(e.square() + 1e-5).sqrt().mean() for e in (error, rows, columns)]
    return parts[0] + 0.25 * (parts[1] + parts[2])


def _pixels(mixture: Mixture, options: Options, step: int) -> torch.Tensor:
    return mixture.batch(options.seed, STEP_OFFSET + step, options.batch, options.side // 2)


def _step(run: DecoderRun, pixels: torch.Tensor, code: PatchCode, options: Options) -> float:
    step = run.budget.step
    for group in run.optimiser.param_groups:
        group["lr"] = run.budget.rate(options.decoder_rate)
    target = pixels.to(options.device).float() / 255
    latents = code.encode(target)
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
    sigma = NOISE * torch.rand(len(latents), 1, 1, 1, generator=generator).square()
    noise = torch.randn(latents.shape, generator=generator) * sigma
    latents = (latents + noise.to(options.device)).contiguous(memory_format=torch.channels_last)
    with torch.autocast(torch.device(options.device).type, torch.bfloat16):
        out = run.trained.half_size(latents)
    loss = reconstruction_loss(out, target)
    blocks = nn.ModuleList(run.trained.blocks)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(blocks.parameters(), 1.0)
    run.optimiser.step()
    run.average.update(blocks)
    return float(loss.detach())
