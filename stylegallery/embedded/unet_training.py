"""The UNet's training loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from stylegallery.embedded.data import Mixture
from stylegallery.embedded.options import Options
from stylegallery.embedded.pca import PATCH, PatchCode
from stylegallery.embedded.runs import Budget, Clock, LossLog, Report, load_state, save_state
from stylegallery.embedded.unet import Average, build_scheduler, build_unet, denoising_loss

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
    unet.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(unet.parameters(), options.rate, (0.9, 0.99), weight_decay=1e-3)
    run = UNetRun(
        unet, Average(unet, options.ema), optimiser, Budget(options.steps, options.minutes)
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
        while run.budget.progress < 1.0:
            loss = _step(run, mixture, code, alphas, options)
            clock.tick(run.budget)
            recent += loss
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


def _step(
    run: UNetRun, mixture: Mixture, code: PatchCode, alphas: torch.Tensor, options: Options
) -> float:
    step = run.budget.step
    for group in run.optimiser.param_groups:
        group["lr"] = run.budget.rate(options.rate)
    pixels = mixture.batch(options.seed, step, options.batch, options.side).to(options.device)
    latents = code.encode(pixels.float() / 255)
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
    noise = torch.randn(latents.shape, generator=generator).to(options.device)
    spread = (torch.rand(1, generator=generator) + torch.arange(len(latents)) / len(latents)) % 1.0
    timesteps = (spread * 1000).long().to(options.device)
    loss = denoising_loss(run.unet, alphas, latents, noise, timesteps).mean()
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.unet.parameters(), 1.0)
    run.optimiser.step()
    run.average.update(run.unet)
    return float(loss.detach())
