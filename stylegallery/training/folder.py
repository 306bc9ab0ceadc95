"""Writes the finished model as a diffusers folder, file by file and each atomically."""

import copy
import json
import os
import shutil
import tempfile
from pathlib import Path

from diffusers import AutoencoderDC, UNet2DConditionModel
from safetensors.torch import save_file

from stylegallery.training.unet import build_scheduler, null_embedding

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


def write_folder(out: Path, unet: UNet2DConditionModel, vae: AutoencoderDC) -> None:
    """Write ``unet/``, ``vae/``, ``scheduler/``, the null embedding and the index to ``out``.

    Weights are stored as float16. Other files in ``out`` stay.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        part = Path(temporary)
        copy.deepcopy(unet).cpu().half().save_pretrained(part / "unet", safe_serialization=True)
        copy.deepcopy(vae).cpu().half().save_pretrained(part / "vae", safe_serialization=True)
        build_scheduler().save_pretrained(part / "scheduler")
        save_file({"null_embedding": null_embedding(1)}, part / "null_embedding.safetensors")
        (part / "model_index.json").write_text(json.dumps(MODEL_INDEX, indent=2) + "\n")
        publish(part, out)


def publish(source: Path, target: Path) -> None:
    """Copy every file of ``source`` over ``target``; a reader never sees half a file."""
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        goal = target / path.relative_to(source)
        goal.parent.mkdir(parents=True, exist_ok=True)
        part = goal.with_name(goal.name + ".part")
        shutil.copyfile(path, part)
        os.replace(part, goal)
