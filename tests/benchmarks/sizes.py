"""Working sizes compared at the picture's own size: one table, differences and crops at 100 %.

    python -m tests.benchmarks.sizes --contents PHOTOS --styles FAMILIES --out DIR

Every variant makes the same pairs in one run, and two judges measure them (extra `benchmarks`).
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from schemas.params import StyleParams
from schemas.presets import PRESETS, preset_params
from stylegallery import StyleGallery
from stylegallery.benchmark.runner import region_pairs
from stylegallery.images.codec import to_bytes
from stylegallery.metrics import second, text
from stylegallery.metrics.item import MetricSuite
from tests.benchmarks.pictures import CELL, Case, cases, fitted, picture_parser

COLUMNS = (
    "regional_gram_ratio_own", "regional_second_style_ratio_own", "gram_ratio_own",
    "gram_ratio_quarter", "texture_difference", "hfrd", "sharpness", "ssim_own",
    "edge_agreement_own", "structure_distance", "text_kept", "form", "cpu",
)  # fmt: skip


@dataclass(frozen=True)
class SizedVariant:
    """Parameters to compare.

    Attributes:
        changes: Changes to the defaults.
        own_size: Whether the working size is the picture's own, with no coarser one.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    own_size: bool = False

    def params(self, short_side: int) -> StyleParams:
        """Return the parameters for a picture."""
        size = {"image_size": short_side} if self.own_size else {}
        return preset_params(
            "balanced", **{"form_floor": 0, "white_ground": "restyle", **self.changes}, **size
        )


ONE_SIZE = {"scale": 1, "steps": 40, "strength": 0.6, "learning_rate": 0.14, "texture": 0.0}
VARIANTS = {
    "before": SizedVariant(ONE_SIZE),
    "preview": SizedVariant({**PRESETS["preview"]}),
    "balanced": SizedVariant(),
    "without texture": SizedVariant({"texture": 0.0}),
    "quality": SizedVariant({"scale": 16, "steps": 40}),
    "with form": SizedVariant({"form_floor": StyleParams().form.form_floor}),
    "direct": SizedVariant(ONE_SIZE, own_size=True),
    "direct, half the steps": SizedVariant({"scale": 1, "texture": 0.0}, own_size=True),
    "attention-distillation": SizedVariant({"method": "attention-distillation"}, own_size=True),
    "stylegallery-paper": SizedVariant({"method": "stylegallery-paper"}, own_size=True),
}
"""Variants by name. `before` was the preset `balanced` while there was one working size."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the variants and write `table.md`, `rows.jsonl`, the pictures and `crops-N.png`."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    engine = StyleGallery.load(options.model)
    suite = MetricSuite(benchmarks=second.is_installed() and text.is_installed())
    rows: list[dict[str, Any]] = []
    chosen = cases(options.contents, options.styles, options.pairs, 1, options.short_side)
    mine = [(n, case) for n, case in enumerate(chosen) if n % options.of == options.part]
    for number, case in mine:
        line = [case.references[0].pixels, case.content.pixels]
        measured = _Measured(engine, suite, case)
        for name in options.variants:
            out, row = measured.run(VARIANTS[name])
            rows.append({"pair": f"{number} {case.name}", "variant": name, **row})
            line.append(out)
        # Written after each pair, because a run of hours may be stopped.
        place = options.out / f"rows-{options.part}.jsonl"
        place.write_text("".join(json.dumps(row) + "\n" for row in rows))
        _crops(line).save(options.out / f"crops-{number:02}.png")
        print(number, case.name, flush=True)
    text_of = table(options.out, options.variants)
    (options.out / "table.md").write_text(text_of + "\n")
    print(text_of)


class _Measured:
    """One pair and its measurements, all on the regions of the default method."""

    def __init__(self, engine: StyleGallery, suite: MetricSuite, case: Case) -> None:
        self._engine, self._suite, self._case = engine, suite, case
        content, *styles = (engine.prepare(p) for p in (case.content, *case.references))
        self._pairs = region_pairs(content, styles, engine.match(content, styles))
        self._references = [suite.reference_features(p.pixels) for p in case.references]

    def run(self, variant: SizedVariant) -> tuple[Tensor, dict[str, Any]]:
        """Return the result (1, 3, H, W), and its metrics with the CPU seconds of all stages."""
        params = variant.params(min(self._case.content.size))
        engine = StyleGallery(self._engine.models, self._engine.encoder)  # with empty caches
        styles = [engine.prepare(picture, params) for picture in self._case.references]
        begin = time.process_time()
        content = engine.prepare(self._case.content, params)
        made = engine.stylize(content, styles, engine.match(content, styles, params), params)
        cpu = time.process_time() - begin
        pixels = made.picture.pixels
        photo = self._case.content.pixels
        metrics = self._suite.score(pixels, photo, self._references, self._pairs).metrics
        form = {} if made.form is None else {"form": made.form, "tries": len(made.strengths)}
        return pixels, {**metrics, **form, "cpu": cpu}


def table(folder: Path, names: Sequence[str]) -> str:
    """Return Markdown tables of means, and of the differences to the first variant by pair."""
    lines = [line for place in folder.glob("rows-*.jsonl") for line in place.open()]
    rows = [json.loads(line) for line in lines]
    head = "| variant | pairs | " + " | ".join(COLUMNS) + " |"
    found = [head, "|---" * (len(COLUMNS) + 2) + "|"]
    for name in names:
        own = {row["pair"]: row for row in rows if row["variant"] == name}
        cells = [_mean([row.get(column) for row in own.values()]) for column in COLUMNS]
        found.append(f"| {name} | {len(own)} | " + " | ".join(cells) + " |")
    found += ["", head, "|---" * (len(COLUMNS) + 2) + "|"]
    first = {row["pair"]: row for row in rows if row["variant"] == names[0]}
    for name in names[1:]:
        own = {row["pair"]: row for row in rows if row["variant"] == name}
        both = own.keys() & first.keys()
        cells = [
            _mean([_minus(own[pair].get(column), first[pair].get(column)) for pair in both], True)
            for column in COLUMNS
        ]
        found.append(f"| {name} - {names[0]} | {len(both)} | " + " | ".join(cells) + " |")
    return "\n".join(found)


def _minus(one: float | None, two: float | None) -> float | None:
    return None if one is None or two is None else one - two


def _mean(values: list[float | None], interval: bool = False) -> str:
    """Return the mean of the known values, with half of its 95 % interval if asked for."""
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return ""
    if not interval or len(known) < 2:
        return f"{known.mean():.3f}"
    return f"{known.mean():+.3f} ± {1.96 * known.std(ddof=1) / len(known) ** 0.5:.3f}"


def _crops(line: list[Tensor]) -> Image.Image:
    """Return reference and photo in full, and two crops of every picture at 100 %."""
    columns = [torch.cat([fitted(picture) for picture in line[:2]], 2)]
    for picture in line[1:]:
        height, width = picture.shape[-2:]
        places = [(height // 5, (width - CELL) // 2), (height // 2, (width - CELL) // 2)]
        cuts = [fitted(picture[..., max(0, y) :, max(0, x) :], shrink=False) for y, x in places]
        columns.append(torch.cat(cuts, 2))
    sheet = torch.cat(columns, 3)
    return Image.fromarray(to_bytes(sheet).permute(1, 2, 0).numpy())


def _parser() -> argparse.ArgumentParser:
    parser = picture_parser("Compare working sizes at the picture's own size.")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables and sheets")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--short-side", type=int, default=512, help="larger pictures are resized")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--part", type=int, default=0, help="make pairs PART, PART + OF, ...")
    parser.add_argument("--of", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
