"""The model card: what the model is, what it was trained on, how well it does."""

import platform
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from stylegallery.training.data import Mixture
from stylegallery.training.loop import Budget
from stylegallery.training.options import Options

Figures = dict[str, Any]

TEMPLATE = """---
license: apache-2.0
library_name: diffusers
tags: [style-transfer, latent-diffusion]
---
# StyleGallery embedded model

A small latent diffusion model in diffusers layout (Stable Diffusion 1.5's topology at a fraction
of its width), trained from scratch by `python -m stylegallery.training.train`. It exists so that
StyleGallery restyles pictures on a laptop CPU, offline. It is made for image-guided style
transfer at a short side of about {side} px; it takes no text and is no image generator.

| part | class | parameters |
|---|---|---|
| `unet/` | UNet2DConditionModel, widths {widths} | {unet:.1f} M |
| `vae/` | AutoencoderDC, {channels} channels at 1/8 of the size | {vae:.1f} M |
| `scheduler/` | DDIMScheduler, SD 1.5's schedule, epsilon prediction | |
| `null_embedding.safetensors` | condition of every call: zeros | |

The autoencoder starts as the principal components of 8x8 patches and learns from there. The UNet
learns to predict noise and, through a head that is thrown away, what EfficientNet-Lite0 sees
(REPA, arXiv 2410.06940); in some steps two windows of one picture are denoised with each other's
keys and values, which is how style transfer uses attention. Weights are stored as float16.

## Data

{data}

Held out for the figures: {held_out}, chosen by a hash of their names, and every reference under
"Style arrives" that is not a painting of the list above.

## Training

{training}

Seed {seed}; autoencoder: {vae_batch} crops of {vae_side} px a step at {vae_rate:g}; UNet: windows
of the latents of {crops} pictures, {batch} of {side} px or as many cells in smaller ones, at
{rate:g}. AdamW with warm-up and cosine decay, averaged weights ({ema}), bfloat16 autocast, on
{hardware}; torch {torch}, diffusers {diffusers}.

## Figures

On held-out pictures at {side} px. PSNR in dB.

{latents}

Mean squared error of the predicted noise by timestep; the best constant predictor scores 1.

{denoising}

Regions of held-out products on a plain background, mean IoU of their best union with the
foreground (`figures_features.foreground` says how it is derived): {regions}.

Dense correspondence on scikit-image's stereo pair (unseen; nearest neighbor within one row and
one and a half columns of the truth): {correspondence}.

Style arrives: {pairs} pairs of a held-out product and a reference, each reference as one region
over the whole picture, sampled as `stylegallery` is by default. Gram distances are over
EfficientNet-Lite0, whose features the UNet has learnt to guess, so another encoder may see less.

{style}

## What it looks like

Left: held-out products and their reconstructions. Top: held-out paintings and drawn patterns that
no batch has seen. Between: one region over the whole picture, {sheet_steps} steps, content weight
{sheet_weight}; chosen by position and not by eye.

![contact sheet](contact_sheet.png)

## Limits

{limits}

## Licence

Weights: the licence of this repository. The training pictures are in the public domain or under
the licences named above; none are contained in the weights' folder except on the contact sheet.
"""

SHEET_WEIGHT = 0.15  # content weight of the sheet

LIMITS = """Trained on few paintings and on photos of clothing. It carries palette, tone and
brushwork; lines, hatching and stitches arrive as soft texture, and the objects and faces of a
reference do not. It knows pictures of about 256 px on the short side."""


def write_card(
    options: Options, mixture: Mixture, figures: Figures, budgets: dict[str, Budget],
    parts: tuple[nn.Module, nn.Module],
) -> None:  # fmt: skip
    """Write ``README.md`` in ``options.out``.

    Args:
        figures: as ``finish.measure`` gathers them.
        budgets: steps and minutes of each phase.
        parts: UNet and autoencoder.
    """
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in parts]
    text = TEMPLATE.format(
        side=options.side, widths="/".join(map(str, options.widths)), channels=options.channels,
        unet=millions[0], vae=millions[1], data=_data(options, mixture),
        held_out=_counts({k: len(v) for k, v in mixture.held_out.items()}) or "nothing",
        training=_training(budgets), seed=options.seed, batch=options.batch, crops=options.crops,
        vae_batch=options.vae_batch, vae_side=options.vae_side, vae_rate=options.vae_rate,
        rate=options.rate, ema=options.ema, hardware=hardware(options.device),
        torch=torch.__version__, diffusers=diffusers.__version__,
        latents=_columns(figures["latents"]), denoising=_denoising(figures["denoising"]),
        regions=_line(figures["regions"]), correspondence=_line(figures["correspondence"]),
        pairs=options.pairs, style=_columns(figures["style"]), sheet_steps=options.sheet_steps,
        sheet_weight=SHEET_WEIGHT,
        limits=LIMITS,
    )  # fmt: skip
    (options.out / "README.md").write_text(text)


def hardware(device: str) -> str:
    """What the run's device is, in words."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{torch.get_num_threads()} CPU cores ({(names or [platform.processor()])[0]})"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def _data(options: Options, mixture: Mixture) -> str:
    total = sum(s.weight for s in mixture.sources)
    share = {s.name: (1 - options.patterns) * s.weight / total for s in mixture.sources}
    rows = [f"* {s.name}: {len(s.pictures)} pictures, {share[s.name]:.0%} of a batch"
            for s in mixture.sources]  # fmt: skip
    rows.append(f"* patterns drawn by `patterns.py`: {options.patterns:.0%} of a batch")
    return "\n".join([*rows, *(f"* {line}" for line in options.credit)])


def _training(budgets: dict[str, Budget]) -> str:
    lines = ["| part | steps | minutes |", "|---|---|---|"]
    lines += [f"| {k} | {b.step} | {b.seconds / 60:.0f} |" for k, b in budgets.items()]
    return "\n".join(lines)


def _columns(figures: dict[str, dict[str, float]]) -> str:
    """A table with a column for each outer and a row for each inner name."""
    names = list(figures)
    keys = list(next(iter(figures.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {key} | " + " | ".join(str(figures[n][key]) for n in names) + " |"
              for key in keys]  # fmt: skip
    return "\n".join(lines)


def _denoising(figures: dict[str, list[float]]) -> str:
    bins = len(next(iter(figures.values())))
    heads = [f"{i * 1000 // bins}-" for i in range(bins)]
    lines = ["| timesteps | " + " | ".join(heads) + " |", "|---" * (bins + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(map(str, row)) + " |" for name, row in figures.items()]
    return "\n".join(lines)


def _line(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())
