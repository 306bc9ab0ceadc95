"""Write the model card: architecture, training data, training and metrics."""

import platform
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from stylegallery.training.data import Mixture
from stylegallery.training.loop import Budget
from stylegallery.training.options import Options

Metrics = dict[str, Any]

TEMPLATE = """---
license: apache-2.0
library_name: diffusers
tags: [style-transfer, latent-diffusion]
---
# StyleGallery embedded model

A small latent diffusion model in diffusers layout (Stable Diffusion 1.5's topology at a fraction
of its width), trained from scratch by `python -m stylegallery.training.train`. With it,
StyleGallery restyles pictures on a laptop CPU, offline. Its purpose is image-guided style transfer
at a short side of about {side} px. It takes no text and does not generate images from noise.

| part | class | parameters |
|---|---|---|
| `unet/` | UNet2DConditionModel, widths {widths} | {unet:.1f} M |
| `vae/` | AutoencoderDC, {channels} channels at 1/8 of the size | {vae:.1f} M |
| `scheduler/` | DDIMScheduler, SD 1.5's schedule, epsilon prediction | |
| `null_embedding.safetensors` | condition of every call: zeros | |

The autoencoder is initialized as the principal components of 8x8 patches. The UNet is trained to
predict noise and, through heads that are discarded after training, the features of
EfficientNet-Lite0 (REPA, arXiv 2410.06940). In some steps two windows of one picture are denoised
with each other's keys and values, as style transfer uses attention. Weights are stored as float16.

## Data

{data}

Held out for the metrics: {held_out}, chosen by a hash of their names, and every reference under
"Style transfer" that is not a painting of the list above.

## Training

{training}

Seed {seed}. Autoencoder: {vae_batch} crops of {vae_side} px per step, learning rate {vae_rate:g}.
UNet: windows of the latents of {crops} pictures, {batch} of {side} px per step or as many cells in
smaller ones, learning rate {rate:g}. AdamW with warm-up and cosine decay, averaged weights (decay
{ema}), bfloat16 autocast, on {hardware}; torch {torch}, diffusers {diffusers}.

## Metrics

On held-out pictures at {side} px. PSNR is in dB.

{latents}

Mean squared error of the predicted noise by timestep; predicting zero has an error of 1.

{denoising}

Regions: mean IoU of the best union of regions with the foreground of held-out products on a plain
background (`stylegallery.training.evaluation.foreground` derives the foreground): {regions}.

Dense correspondence on scikit-image's stereo pair, which is held out (nearest neighbor within one
row and 1.5 columns of the true match): {correspondence}.

Style transfer: {pairs} pairs of a held-out product and a reference, with one region over the whole
picture and the default sampler of `stylegallery`. Gram distances use EfficientNet-Lite0, whose
features the UNet was trained to predict, so another encoder may show a smaller effect.

{style}

## Contact sheet

Left: held-out products and their reconstructions. Top: held-out paintings and drawn patterns that
no batch contains. The others: products restyled with one region, {sheet_steps} steps and content
weight {sheet_weight}. Pictures are chosen by position, not by eye.

![contact sheet](contact_sheet.png)

## Limits

{limits}

## License

The weights have the license of this repository. The training pictures are in the public domain or
under the licenses named above. This folder contains pictures only on the contact sheet.
"""

SHEET_WEIGHT = 0.15  # content weight of the contact sheet

LIMITS = """The model was trained on few paintings and on photos of clothing. It transfers palette,
tone and brushwork. Lines, hatching and stitches become soft texture, and objects and faces of a
reference are not transferred. It was trained on pictures of about 256 px on the short side."""


def write_card(
    options: Options, mixture: Mixture, metrics: Metrics, budgets: dict[str, Budget],
    parts: tuple[nn.Module, nn.Module],
) -> None:  # fmt: skip
    """Write `README.md` in `options.out`.

    Args:
        options: Options of the run.
        mixture: Training pictures.
        metrics: Results of :func:`stylegallery.training.export.evaluate_model`.
        budgets: Steps and minutes of each phase.
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
        latents=_columns(metrics["latents"]), denoising=_denoising(metrics["denoising"]),
        regions=_line(metrics["regions"]), correspondence=_line(metrics["correspondence"]),
        pairs=options.pairs, style=_columns(metrics["style"]), sheet_steps=options.sheet_steps,
        sheet_weight=SHEET_WEIGHT,
        limits=LIMITS,
    )  # fmt: skip
    (options.out / "README.md").write_text(text)


def hardware(device: str) -> str:
    """Describe the hardware of a device."""
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


def _columns(metrics: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table with a column per outer name and a row per inner name."""
    names = list(metrics)
    keys = list(next(iter(metrics.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {key} | " + " | ".join(str(metrics[n][key]) for n in names) + " |"
              for key in keys]  # fmt: skip
    return "\n".join(lines)


def _denoising(metrics: dict[str, list[float]]) -> str:
    bins = len(next(iter(metrics.values())))
    heads = [f"{i * 1000 // bins}-" for i in range(bins)]
    lines = ["| timesteps | " + " | ".join(heads) + " |", "|---" * (bins + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(map(str, row)) + " |" for name, row in metrics.items()]
    return "\n".join(lines)


def _line(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in metrics.items())
