"""From checkpoints to the finished folder: weights, figures, contact sheet and card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from PIL import Image

from stylegallery.embedded import decoder_training, evaluate, unet_training
from stylegallery.embedded.card import write_card
from stylegallery.embedded.data import Mixture
from stylegallery.embedded.folder import write_folder
from stylegallery.embedded.options import Options
from stylegallery.embedded.pca import PatchCode
from stylegallery.embedded.runs import Report

SHEET = "contact_sheet.png"
SHEET_BYTES = 400_000


def finish(options: Options, mixture: Mixture, code: PatchCode, say: Report, full: bool) -> None:
    """Write the folder of the averaged weights in ``options.state``.

    Args:
        full: also measure, draw the contact sheet and write the card.
    """
    options = replace(options, resume=True)
    unet_run = unet_training.start(options)
    decoder_run = decoder_training.start(options, code)
    unet, vae = unet_run.average.module.cpu(), decoder_run.finished().cpu().eval()
    write_folder(options.out, unet, vae)
    say(f"wrote {options.out}")
    if not full:
        return
    crops = evaluate.held_out_crops(mixture, options.side, 24)
    figures = {
        name: {
            **evaluate.reconstruction(vae, code, pixels),
            **evaluate.denoising(unet, code, pixels),
        }
        for name, pixels in crops.items()
    }
    (options.state / "figures.json").write_text(json.dumps(figures, indent=2))
    say(json.dumps(figures, indent=2))
    budgets = {"UNet": unet_run.budget, "decoder": decoder_run.budget}
    write_card(options, mixture, figures, budgets, (unet, vae))
    sheet = evaluate.contact_sheet(unet, vae, code, crops, options.sheet_steps, *options.sheet)
    save_sheet(sheet, options)
    say(f"wrote {options.out / SHEET}")


def save_sheet(sheet: Image.Image, options: Options) -> None:
    """Save the sheet in full beside the checkpoints, and below 400 kB in the model folder."""
    sheet.save(Path(options.state) / SHEET)
    for cell in (256, 192, 160, 128, 96, 64):
        small = evaluate.shrink(sheet, min(cell, options.side), options.side)
        path = options.out / SHEET
        small.quantize(256).save(path, optimize=True)
        if path.stat().st_size <= SHEET_BYTES:
            return
