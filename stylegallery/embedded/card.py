"""The model card: what the model is, what it was trained on, how well it does."""

from __future__ import annotations

import platform
from pathlib import Path

import diffusers
import torch

from stylegallery.embedded.data import Mixture
from stylegallery.embedded.options import Options
from stylegallery.embedded.runs import Budget

Figures = dict[str, dict[str, float]]

TEMPLATE = """---
license: apache-2.0
library_name: diffusers
tags: [style-transfer, latent-diffusion]
---
# StyleGallery embedded model

A small latent diffusion model in diffusers layout (Stable Diffusion 1.5's topology at a twentieth
of its width), trained from scratch by `python -m stylegallery.embedded.train`. It exists so that
StyleGallery restyles pictures on a laptop CPU, offline. It is made for image-guided style
transfer at a short side of about {side} px; it takes no text and is no image generator.

| part | class | parameters |
|---|---|---|
| `unet/` | UNet2DConditionModel, widths {widths} | {unet:.1f} M |
| `vae/` | AutoencoderTiny, {channels} channels at 1/8 of the size | {vae:.2f} M |
| `scheduler/` | DDIMScheduler, SD 1.5's schedule, epsilon prediction | |
| `null_embedding.safetensors` | condition of every call: zeros | |

The encoder is a linear map, exactly the {channels} largest whitened principal components of
8x8 patches. The decoder holds the linear inverse of that map, written in and not learnt, and six
residual blocks that are trained to take out noise and block edges. Weights are stored as float16.
UNet latents are `vae.encode(x).latents * scaling_factor`.

## Data

{data}

Held out for the figures: {held_out}. Held-out files are chosen by a hash of their names.

## Training

{training}

Seed {seed}, batch {batch} crops of {side} px ({small:.0%} of the steps at {three_quarters} px),
AdamW at {rate:g} with warm-up and cosine decay, averaged weights ({ema}), bfloat16 autocast,
on {hardware}; torch {torch}, diffusers {diffusers}.

## Figures

{figures}

PSNR in dB against the picture; "linear" is the best linear inverse of the same latents, from which
the decoder starts; "noise" adds Gaussian noise to the unit-variance latents. The decoder is trained
with such noise because optimising latents leaves a good deal of it; where its figures on clean
latents are below the linear ones, that is what this costs. Rows "t a-b" are the mean squared error
of the predicted noise over those timesteps (predicting nothing scores 1).

## What it looks like

Left column: held-out products. Top row: held-out paintings. Between: attention distillation,
{sheet_steps} steps, chosen by position and not by eye.

![contact sheet](contact_sheet.png)

## Limits

Trained for about an hour on few paintings and on photos of clothing laid flat or hung. Look at the
sheet before trusting it: short runs shift palette and tone only, raise contrast, and leave a faint
8 px grid where the optimised latents drift; brush strokes need more steps of training. Objects,
faces and scenes of a reference do not transfer at any length seen so far.

## Licence

Weights: the licence of this repository. The training pictures are in the public domain or under
the licences named above; none are contained in the weights' folder except on the contact sheet.
"""


def write_card(
    options: Options,
    mixture: Mixture,
    figures: Figures,
    budgets: dict[str, Budget],
    parts: tuple[torch.nn.Module, torch.nn.Module],
) -> None:
    """Write ``README.md`` in ``options.out``.

    Args:
        parts: UNet and autoencoder.
    """
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in parts]
    text = TEMPLATE.format(
        side=options.side, widths="/".join(map(str, options.widths)), channels=options.channels,
        unet=millions[0], vae=millions[1], data=_data(options, mixture),
        held_out=_counts({k: len(v) for k, v in mixture.held_out.items()}) or "nothing",
        training=_training(budgets), seed=options.seed, batch=options.batch,
        small=options.small_share, three_quarters=options.side * 3 // 4, rate=options.rate,
        ema=options.ema, hardware=hardware(options.device), torch=torch.__version__,
        diffusers=diffusers.__version__, figures=_table(figures),
        sheet_steps=options.sheet_steps,
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


def _table(figures: Figures) -> str:
    names = list(figures)
    keys = list(next(iter(figures.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {key} | " + " | ".join(str(figures[n][key]) for n in names) + " |"
              for key in keys]  # fmt: skip
    return "\n".join(lines)
