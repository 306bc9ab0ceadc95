"""The UNet's training loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from stylegallery.embedded.data import Mixture
from stylegallery.embedded.options import Options
from stylegallery.embedded.pca import PATCH, PatchCode
from stylegallery.embedded.runs import (
    Budget,
    Clock,
    LossLog,
    Report,
    load_state,
    prefetch,
    save_state,
)
from stylegallery.embedded.unet import (
    Average,
    build_scheduler,
    build_unet,
    denoising_loss,
    skip_cross_attention,
)

CHECKPOINT = "unet.pt"


@dataclass
class UNetRun:
    """Everything a UNet run resumes from."""

    unet: UNet2DConditionModel
    average: Average
    optimiser: torch.optim.AdamW
    budget: Budget

    def save(self, folder: Path) -> None:
        """Write the checkpoint."""
        state: dict[str, Any] = {
            "unet": self.unet.state_dict(),
            "average": self.average.module.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
            "step": self.budget.step,
            "seconds": self.budget.seconds,
        }
        save_state(folder / CHECKPOINT, state)


def start(options: Options) -> UNetRun:
    """A new run, or the one in the checkpoint when ``options.resume`` is set."""
    torch.manual_seed(options.seed)
    unet = build_unet(options.channels, options.widths, options.side // PATCH)
    unet.to(options.device, memory_format=torch.channels_last)
    average = Average(unet, options.ema)
    skip_cross_attention(unet)
    optimiser = torch.optim.AdamW(
        unet.parameters(), options.rate, (0.9, 0.99), weight_decay=1e-3, fused=True
    )
    run = UNetRun(
        unet, average, optimiser, Budget(options.steps, options.minutes, pause=options.stop_after)
    )
    state = load_state(options.state / CHECKPOINT) if options.resume else None
    if state:
        unet.load_state_dict(state["unet"])
        run.average.module.load_state_dict(state["average"])
        run.average.updates = state["updates"]
        optimiser.load_state_dict(state["optimiser"])
        run.budget.step, run.budget.seconds = state["step"], state["seconds"]
    return run


def train(run: UNetRun, mixture: Mixture, code: PatchCode, options: Options, say: Report) -> None:
    """Train until the budget is used up; saves every ``drop_minutes`` and at the end."""
    log, clock, saved = LossLog(options.state), Clock(), time.monotonic()
    code, recent = code.to(options.device), 0.0
    alphas = build_scheduler().alphas_cumprod.to(options.device)
    try:
        batches = prefetch(lambda step: _pixels(mixture, options, step), run.budget.step)
        while not run.budget.over:
            recent += _step(run, next(batches), code, alphas, options)
            clock.tick(run.budget)
            if run.budget.step % 25 == 0:
                log.write(phase="unet", step=run.budget.step, loss=round(recent / 25, 5),
                          minutes=round(run.budget.seconds / 60, 2))  # fmt: skip
                say(f"unet step {run.budget.step} loss {recent / 25:.4f} "
                    f"{run.budget.seconds / 60:.1f} min")  # fmt: skip
                recent = 0.0
            if time.monotonic() - saved > 60 * options.drop_minutes:
                run.save(options.state)
                saved = time.monotonic()
    finally:
        run.save(options.state)


def _pixels(mixture: Mixture, options: Options, step: int) -> torch.Tensor:
    """Crops of one step, (B, 3, side, side) uint8; some steps use 3/4 of the side."""
    small = np.random.default_rng((options.seed, step)).random() < options.small_share
    side = options.side * 3 // 4 if small else options.side
    return mixture.batch(options.seed, step, options.batch, side)


def _step(
    run: UNetRun, pixels: torch.Tensor, code: PatchCode, alphas: torch.Tensor, options: Options
) -> float:
    step = run.budget.step
    for group in run.optimiser.param_groups:
        group["lr"] = run.budget.rate(options.rate)
    latents = code.encode(pixels.to(options.device).float() / 255)
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
    noise = torch.randn(latents.shape, generator=generator).to(options.device)
    spread = (torch.rand(1, generator=generator) + torch.arange(len(latents)) / len(latents)) % 1.0
    timesteps = (spread * 1000).long().to(options.device)
    loss = denoising_loss(run.unet, alphas, latents, noise, timesteps).mean()
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.unet.parameters(), 1.0)
    run.optimiser.step()
    run.average.update(run.unet)
    return float(loss.detach())
