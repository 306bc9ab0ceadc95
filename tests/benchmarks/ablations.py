"""Methods and ablations side by side: one table and contact sheets.

    python -m tests.benchmarks.ablations --contents PHOTOS --styles FAMILIES --out DIR

Every variant restyles the same jobs on the same engine in one run. Without folders it takes the
photos of scikit-image and scikit-learn and drawn patterns.
"""

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from schemas.engine import EngineSpec
from schemas.params import StyleParams, preset_params
from stylegallery import StyleGallery
from stylegallery.images import resize
from stylegallery.lite0 import load_lite0
from stylegallery.types import PreparedImage
from tests.benchmarks.judging import judge
from tests.benchmarks.pictures import Job, jobs

AD = {"method": "attention-distillation"}
PAPER = {"method": "stylegallery-paper", "steps": 40}
VARIANTS: dict[str, dict[str, Any]] = {
    "stylegallery": {},
    "attention-distillation": AD,
    "stylegallery-paper": PAPER,
    "styleid": {"method": "styleid"},
    "guided": {"sampler": "guided"},
    "hard regions": {"routing": "hard"},
    "strength 1": {"routing_strength": 1.0},
    "strength 4": {"routing_strength": 4.0},
    "no ground term": {"ground_weight": 0.0},
    "gate 0": {"min_similarity": 0.0},
    "gate 0, keep content": {"min_similarity": 0.0, "fallback": "content"},
    "content loss off": {"content_weight": 0.0},
    "tone off": {"match_tone": False},
    "settling off": {"settle_timestep": 0},
}
COLUMNS = ("gram", "regional gram", "ssim", "edges", "contrast", "collapse", "area used", "seconds")
CELL = 192


def main(arguments: list[str] | None = None) -> None:
    """Run the variants and write ``table.md``, ``rows.jsonl`` and ``sheet-N.png``."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    engine, net = StyleGallery.load(EngineSpec(model=options.model)), load_lite0("cpu")
    work = jobs(options.contents, options.styles, options.pairs, options.references)
    chosen = {name: VARIANTS[name] for name in options.variants or VARIANTS}
    rows: list[dict[str, Any]] = []
    pictures: list[list[Tensor]] = []
    for job in work:
        line = [job.content.pixels, *(r.pixels for r in job.references)]
        for name, row, out in _variants(engine, net, job, chosen, options.preset):
            rows.append({"job": job.name, "variant": name, **row})
            line.append(out)
        pictures.append(line)
        print(job.name, flush=True)
        (options.out / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    table = table_of(rows, list(chosen))
    (options.out / "table.md").write_text(table + "\n")
    print(table)
    for number, start in enumerate(range(0, len(pictures), 8)):
        _sheet(pictures[start : start + 8]).save(options.out / f"sheet-{number}.png")


def _variants(
    engine: StyleGallery, net: nn.Module, job: Job, chosen: dict[str, dict[str, Any]], preset: Any
) -> Iterable[tuple[str, dict[str, float], Tensor]]:
    """Yield name, figures and result (1, 3, H, W) of every variant."""
    named = _prepared(engine, job, preset_params(preset))
    routing = engine.match(named[0], named[1:], preset_params(preset))
    for name, changes in chosen.items():
        params = preset_params(preset, **changes)
        begin = time.monotonic()
        images = _prepared(engine, job, params)
        found = engine.match(images[0], images[1:], params)
        out = engine.stylize(images[0], images[1:], found, params).picture.pixels
        seconds = time.monotonic() - begin
        standard = (named[0], named[1:], routing)
        yield (
            name,
            {**judge(net, out, images[0], images[1:], found, standard), "seconds": seconds},
            out,
        )


def _prepared(engine: StyleGallery, job: Job, params: StyleParams) -> list[PreparedImage]:
    return [engine.prepare(picture, params) for picture in (job.content, *job.references)]


def table_of(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Return a Markdown table of the means of every variant."""
    lines = ["| variant | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name in names:
        cells = []
        for column in COLUMNS:
            values = [r[column] for r in rows if r["variant"] == name and column in r]
            cells.append(f"{np.mean(values):.3f}" if values else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _sheet(lines: list[list[Tensor]]) -> Image.Image:
    rows = []
    for line in lines:
        cells = []
        for pixels in line:
            scale = CELL / max(pixels.shape[-2:])
            height, width = (round(side * scale) for side in pixels.shape[-2:])
            small = resize(pixels, (height, width))
            cell = torch.ones(1, 3, CELL, CELL)
            cell[..., :height, :width] = small
            cells.append(cell)
        rows.append(torch.cat(cells, 3))
    sheet = torch.cat(rows, 2)[0].clamp(0, 1)
    return Image.fromarray((sheet.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Methods and ablations side by side.")
    parser.add_argument("--contents", type=Path, help="folder of photos")
    parser.add_argument("--styles", type=Path, help="folder of style families")
    parser.add_argument("--out", type=Path, required=True, help="folder for table and sheets")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--preset", default="balanced", choices=["quality", "balanced", "preview"])
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--references", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
