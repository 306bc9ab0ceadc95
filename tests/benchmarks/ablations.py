"""Compare variants of the method on the same pairs: one table and contact sheets.

    python -m tests.benchmarks.ablations --contents PHOTOS --styles FAMILIES --out DIR

Without folders it uses the photos of scikit-image and scikit-learn and drawn patterns.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from schemas.engine import EngineSpec
from schemas.methods import Method, Sampler
from schemas.params import StyleParams
from schemas.presets import preset_params
from stylegallery import StyleGallery
from stylegallery.images.codec import resize
from stylegallery.methods.registry import method_class
from stylegallery.models.lite0 import load_lite0
from stylegallery.sampling.base import LatentSampler
from stylegallery.types import PreparedImage
from tests.benchmarks.pictures import Case, cases, picture_parser
from tests.benchmarks.scoring import score
from tests.benchmarks.variants import VARIANTS, Variant

COLUMNS = ("gram", "regional gram", "ssim", "edges", "contrast", "collapse", "area used", "seconds")
MOST_REFERENCES = 5
CELL = 192
SHEET_ROWS = 8


def main(arguments: list[str] | None = None) -> None:
    """Run the variants and write `table.md`, `rows.jsonl` and `sheet-N.png`."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    spec = EngineSpec(model=options.model, dtype=options.dtype)
    engine, net = StyleGallery.load(spec), load_lite0("cpu")
    chosen = options.variants or list(VARIANTS)
    rows: list[dict[str, Any]] = []
    pictures: list[list[Tensor]] = []
    for number, case in enumerate(
        cases(options.contents, options.styles, options.pairs, MOST_REFERENCES)
    ):
        prepared = _PreparedCase(engine, case, options.preset)
        line = [case.content.pixels, case.references[0].pixels]
        for name in chosen:
            out, metrics = prepared.run(VARIANTS[name], net)
            rows.append({"pair": case.name, "variant": name, **metrics})
            line.append(out)
        print(case.name, flush=True)
        # Written after each pair, because a run of hours may be stopped.
        (options.out / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        (options.out / "table.md").write_text(table_of(rows, chosen) + "\n")
        pictures = [*pictures, line] if number % SHEET_ROWS else [line]
        _sheet(pictures).save(options.out / f"sheet-{number // SHEET_ROWS}.png")
    print(table_of(rows, chosen))


class _PreparedCase:
    """One pair, prepared once per method."""

    def __init__(self, engine: StyleGallery, case: Case, preset: Any) -> None:
        self._engine, self._case, self._preset = engine, case, preset
        self._prepared: dict[str, list[PreparedImage]] = {}

    def run(self, variant: Variant, net: torch.nn.Module) -> tuple[Tensor, dict[str, float]]:
        """Return the result (1, 3, H, W) and its metrics, with the seconds of match and restyle."""
        params = preset_params(self._preset, **variant.changes)
        if variant.method:
            params = params.model_copy(update={"method": variant.method})
        images = self._images(params, variant.references)
        engine = StyleGallery(self._engine.models, self._engine.encoder)  # with empty caches
        begin = time.monotonic()
        routing = engine.match(images[0], images[1:], params)
        with replaced_sampler(params.method, params.sampler, variant.sampler):
            out = engine.stylize(images[0], images[1:], routing, params).picture.pixels
        seconds = time.monotonic() - begin
        default = preset_params(self._preset)
        named = self._images(default, variant.references)
        standard = (named[0], named[1:], engine.match(named[0], named[1:], default))
        metrics = score(net, out, images[0], images[1:], routing, standard)
        return out, {**metrics, "seconds": seconds}

    def _images(self, params: StyleParams, references: int) -> list[PreparedImage]:
        found = self._prepared.setdefault(params.method, [])
        pictures = [self._case.content, *self._case.references[:references]]
        found += [self._engine.prepare(p, params) for p in pictures[len(found) :]]
        return found[: 1 + references]


@contextmanager
def replaced_sampler(
    method: Method, sampler: Sampler, other: type[LatentSampler] | None
) -> Iterator[None]:
    """Replace a method's sampler inside the block."""
    chosen = method_class(method)
    before = chosen.samplers
    if other is not None:
        chosen.samplers = {**before, sampler: other}
    try:
        yield
    finally:
        chosen.samplers = before


def table_of(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Return a Markdown table of means, one row per variant."""
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
    parser = picture_parser("Compare variants of the method on the same pairs.")
    parser.add_argument("--out", type=Path, required=True, help="folder for table and sheets")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--dtype", default="auto", help="number type of the UNet")
    parser.add_argument("--preset", default="balanced", choices=["quality", "balanced", "preview"])
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
