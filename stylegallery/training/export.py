"""Write the model folder from checkpoints: weights, contact sheet and model card with metrics."""

import copy
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file

from schemas.engine import EngineSpec
from schemas.presets import Preset
from stylegallery.pipeline import StyleGallery
from stylegallery.training import evaluation
from stylegallery.training.autoencoder import PatchCode, encode
from stylegallery.training.data import Mixture, load_folders
from stylegallery.training.evaluation import fit_square
from stylegallery.training.loop import Budget, Report, Run, load_state, replacing
from stylegallery.training.model_card import SHEET_WEIGHT, write_card
from stylegallery.training.options import Options
from stylegallery.training.unet import build_scheduler, null_embedding
from stylegallery.training.unet_training import Student

MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderDC"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": [None, None],
    "tokenizer": [None, None],
    "feature_extractor": [None, None],
    "safety_checker": [None, None],
}
SHEET = "contact_sheet.png"
SHEET_BYTES = 600_000
HELD_OUT_PICTURES, HELD_OUT_PRODUCTS = 24, 200  # of each source; searched for plain backgrounds
# Preset and content weight; published style metrics are at an SSIM of about 0.6, as one of these.
STYLE_SETTINGS: tuple[tuple[Preset, float], ...] = (
    ("preview", 0.15),
    ("balanced", 0.15),
    ("balanced", 0.05),
)
PLAIN_PRODUCTS = 20


def write_folder(out: Path, unet: UNet2DConditionModel, vae: AutoencoderDC) -> None:
    """Write `unet/`, `vae/`, `scheduler/`, the null embedding and the model index to `out`.

    Weights are stored as float16. Other files in `out` are kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        part = Path(temporary)
        copy.deepcopy(unet).cpu().half().save_pretrained(part / "unet", safe_serialization=True)
        copy.deepcopy(vae).cpu().half().save_pretrained(part / "vae", safe_serialization=True)
        build_scheduler().save_pretrained(part / "scheduler")
        save_file({"null_embedding": null_embedding(1)}, part / "null_embedding.safetensors")
        (part / "model_index.json").write_text(json.dumps(MODEL_INDEX, indent=2) + "\n")
        _copy_files(part, out)


def _copy_files(source: Path, target: Path) -> None:
    """Copy all files of `source` to `target`, each atomically."""
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        goal = target / path.relative_to(source)
        goal.parent.mkdir(parents=True, exist_ok=True)
        with replacing(goal) as part:
            shutil.copyfile(path, part)


def export_model(options: Options, vae: AutoencoderDC, student: Student, say: Report) -> None:
    """Write the model folder."""
    write_folder(options.out, student.unet, vae)
    say(f"wrote {options.out}")


def evaluate_model(
    options: Options, mixture: Mixture, code: PatchCode, vae: AutoencoderDC, run: Run, say: Report
) -> None:
    """Measure the written model, draw the contact sheet and write the model card."""
    crops = evaluation.held_out_crops(mixture, options.side, HELD_OUT_PICTURES)
    metrics: dict[str, Any] = {"latents": {}, "denoising": {}}
    for name, pixels in crops.items():
        metrics["latents"][name] = evaluation.reconstruction(vae, code, pixels)
    latents = torch.cat([encode(vae, pixels) for pixels in crops.values()])
    student: Any = run.average.module
    metrics["denoising"]["final"] = evaluation.denoising(student.unet, latents)
    early = load_state(options.state / "unet-tenth.pt")
    if early is not None:
        final = {name: value.clone() for name, value in student.state_dict().items()}
        student.load_state_dict(early["average"])
        metrics["denoising"]["at a tenth"] = evaluation.denoising(student.unet, latents)
        student.load_state_dict(final)
    say(json.dumps(metrics, indent=2))
    engine = StyleGallery.load(EngineSpec(model=str(options.out), device=options.device))
    many = evaluation.held_out_crops(mixture, options.side, HELD_OUT_PRODUCTS)
    products = next(iter(many.values()))
    metrics["regions"] = evaluation.segmentation(
        engine.models, engine.encoder, products, PLAIN_PRODUCTS
    )
    metrics["correspondence"] = evaluation.correspondence(engine.models, options.side)
    metrics["style"] = _style(options, engine, crops)
    say(json.dumps(metrics, indent=2))
    (options.state / "metrics.json").write_text(json.dumps(metrics, indent=2))
    write_card(options, mixture, metrics, _budgets(options), (student.unet, vae))
    params = evaluation.one_region(
        "balanced", steps=options.sheet_steps, content_weight=SHEET_WEIGHT
    )
    sheet = evaluation.contact_sheet(engine, mixture, products, options.sheet_rows, params)
    _save_sheet(sheet, options)
    say(f"wrote {options.out / SHEET}")


def _budgets(options: Options) -> dict[str, Budget]:
    """Return the steps and minutes of each phase, from its checkpoint."""
    budgets = {}
    for title, name in (("autoencoder", "vae"), ("UNet", "unet"), ("decoder alone", "decoder")):
        state = load_state(options.state / f"{name}.pt")
        if state is not None:
            budgets[title] = Budget(0, 0, state["step"], state["seconds"])
    return budgets


def _style(
    options: Options, engine: StyleGallery, crops: dict[str, torch.Tensor]
) -> dict[str, dict[str, float]]:
    """Return style metrics by setting, over pairs of held-out products and references."""
    if options.style_references:
        pictures, _ = load_folders(options.style_references, options.side * 2, 0.0)
        references = torch.cat([fit_square(p, options.side) for p in pictures])
    else:
        references = next(reversed(crops.values())).roll(
            1, 0
        )  # so that no picture is its own reference
    count = options.pairs
    contents = _take_evenly(next(iter(crops.values())), count)
    chosen = _take_evenly(references, count)
    settings = {
        f"{preset}, content weight {weight}": evaluation.one_region(preset, content_weight=weight)
        for preset, weight in STYLE_SETTINGS
    }
    return {
        name: evaluation.style_transfer_metrics(engine, contents, chosen, params)
        for name, params in settings.items()
    }


def _take_evenly(pictures: torch.Tensor, count: int) -> torch.Tensor:
    """Return `count` pictures at even distances; if there are fewer, some repeat."""
    return pictures[[index * len(pictures) // count for index in range(count)]]


def _save_sheet(sheet: Image.Image, options: Options) -> None:
    """Save the full sheet beside the checkpoints, and one below 600 kB in the model folder."""
    sheet.save(options.state / SHEET)
    with replacing(options.out / SHEET) as part:
        for share in (1.0, 0.75, 0.625, 0.5, 0.375, 0.25):
            size = (round(sheet.width * share), round(sheet.height * share))
            small = sheet.resize(size, Image.Resampling.LANCZOS)
            small.quantize(256).save(part, "PNG", optimize=True)
            if part.stat().st_size <= SHEET_BYTES:
                break
