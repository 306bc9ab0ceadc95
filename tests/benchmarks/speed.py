"""Time the published procedure and ours, in turn in one run: one table.

    python -m tests.benchmarks.speed --contents PHOTOS --styles FAMILIES --out DIR

The time of an item is that from a decoded photo to a finished picture. All items have the same
references, which are processed once, for the first item; its seconds have their own column. Only
the published procedure processes references again for each item, as its code does.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor, nn

from schemas.engine import EngineSpec
from schemas.params import StyleParams
from schemas.presets import PRESETS, preset_params
from stylegallery import PreparedImage, StyleGallery, StyleJob
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.images.picture import Picture
from stylegallery.models.lite0 import load_lite0
from tests.benchmarks import faithful
from tests.benchmarks.ablations import replaced_sampler
from tests.benchmarks.meter import Reading, matmul_peak, metered, unet_flops
from tests.benchmarks.pictures import cases, picture_parser
from tests.benchmarks.random_sd15 import random_sd15
from tests.benchmarks.scoring import score

PUBLISHED = "published procedure"
SAME = "same procedure by ours"
ANCHORS = 15
SD15 = "random-sd15"
COLUMNS = (
    "references", "s/item", "least", "most", "first item", "items/h", "times faster",
    "UNet calls", "of peak", "GB", "regional gram", "ssim",
)  # fmt: skip


@dataclass(frozen=True)
class Procedure:
    """A procedure to restyle items.

    Attributes:
        params: Parameters.
        batch: Items that share UNet calls.
        faithful: Works like the published code: dense attention per region, and everything is
            computed again for each item, including references.
    """

    params: StyleParams
    batch: int = 1
    faithful: bool = False


def procedures(batches: Iterable[int], shrink: int) -> dict[str, Procedure]:
    """Return the procedures, baseline first, with the steps of each divided by `shrink`."""
    paper = StyleParams(method="stylegallery-paper")
    ours = {
        SAME: paper.model_copy(update={"anchors": ANCHORS}),
        **{str(name): preset_params(name) for name in PRESETS},
    }
    found = {PUBLISHED: Procedure(paper, faithful=True), f"{SAME}, all timesteps": Procedure(paper)}
    for batch in batches:
        found |= {
            f"{name}, batch {batch}": Procedure(params, batch) for name, params in ours.items()
        }
    return {
        name: Procedure(_shrunk(procedure.params, shrink), procedure.batch, procedure.faithful)
        for name, procedure in found.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Time the procedures and write `speed.md` and `speed.jsonl`."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.model == SD15:
        engine = random_sd15()
    else:
        engine = StyleGallery.load(EngineSpec(model=options.model))
    models, size = engine.models, options.size
    chosen = {
        name: procedure
        for name, procedure in procedures(options.batches, options.shrink).items()
        if not options.procedures or {name, name.split(",")[0]} & {*options.procedures}
    }
    most, count = max(options.references), max(options.rounds, *options.batches)
    work = cases(options.contents, options.styles, count, most, size, square=True)
    contents, gallery = [case.content for case in work], work[0].references
    peak = matmul_peak(models.device, models.dtype, options.matrix)
    grid = (size // models.vae_factor, size // models.vae_factor)
    flops = {batch: unet_flops(models, grid, batch) for batch in {w.batch for w in chosen.values()}}
    rows: list[dict[str, Any]] = []
    for references in options.references:
        runners = {
            n: _ProcedureRunner(engine, w, size, gallery[:references]) for n, w in chosen.items()
        }
        scoring = None if options.model == SD15 else _Scorer(engine, size, gallery[:references])
        for number in range(options.rounds):
            for (
                name,
                runner,
            ) in runners.items():  # in turn, so that a slow phase of the machine affects all
                batch = runner.procedure.batch
                some = [contents[(number + k) % len(contents)] for k in range(batch)]
                try:
                    reading, made = runner.run(some)
                except torch.OutOfMemoryError:
                    print(f"{name}: {batch} items are more than the memory holds", flush=True)
                    continue
                plain, steered = flops[batch]
                done = (reading.plain * plain + reading.steered * steered) / batch
                rows.append(
                    {
                        "procedure": name,
                        "references": references,
                        "first": number == 0,
                        "s/item": reading.seconds / batch,
                        "UNet calls": reading.equivalents / batch,
                        "of peak": done / reading.seconds / peak,
                        "GB": reading.peak / 1e9,
                        **(scoring.metrics(some[0], made.pixels) if scoring else {}),
                    }
                )
                print(name, references, f"{rows[-1]['s/item']:.2f} s", flush=True)
                text = "".join(json.dumps(row) + "\n" for row in rows)
                (options.out / "speed.jsonl").write_text(text)
                (options.out / "speed.md").write_text(table_of(rows) + "\n")
    print(f"peak: {peak / 1e9:.0f} GFLOP/s, the best product of {options.matrix} px matrices")
    print(table_of(rows))


class _ProcedureRunner:
    """Runs one procedure with one gallery, and keeps its caches from item to item."""

    def __init__(
        self, engine: StyleGallery, procedure: Procedure, size: int, gallery: list[Picture]
    ) -> None:
        self.procedure = procedure
        self._params = procedure.params.model_copy(update={"image_size": size})
        cache = AttentionCache(0) if procedure.faithful else AttentionCache()
        self._engine = StyleGallery(engine.models, engine.encoder, cache=cache)
        self._gallery = gallery
        self._styles: list[PreparedImage] = []

    def run(self, pictures: list[Picture]) -> tuple[Reading, Picture]:
        """Restyle a batch of contents; return its cost and the first result."""
        engine, params, contents = self._engine, self._params, []
        if self.procedure.faithful:
            # The published code inverts a content once, for regions and start. This replica inverts
            # it again for the start, so the time of its regions is not counted.
            contents, self._styles = self._prepared(pictures), []
        with metered(engine.models) as reading:
            contents = contents or self._prepared(pictures)
            styles = self._styles = self._styles or self._prepared(self._gallery)
            jobs = [
                StyleJob(content, styles, engine.match(content, styles, params), seed)
                for seed, content in enumerate(contents)
            ]
            sampler = faithful.DenseSampler if self.procedure.faithful else None
            with replaced_sampler(params.method, params.sampler, sampler):
                made = engine.stylize_batch(jobs, params)
        return reading, made[0].picture

    def _prepared(self, pictures: list[Picture]) -> list[PreparedImage]:
        return [self._engine.prepare(picture, self._params) for picture in pictures]


class _Scorer:
    """Computes metrics of results, with the regions and matches of the default method."""

    def __init__(self, engine: StyleGallery, size: int, gallery: list[Picture]) -> None:
        self._engine, self._params = engine, StyleParams(image_size=size)
        self._styles = [engine.prepare(picture, self._params) for picture in gallery]
        self._contents: dict[Picture, PreparedImage] = {}
        self._net: nn.Module = load_lite0("cpu")

    def metrics(self, content: Picture, made: Tensor) -> dict[str, float]:
        """Return the regional style distance and the SSIM of one result."""
        if content not in self._contents:
            self._contents[content] = self._engine.prepare(content, self._params)
        ready = self._contents[content]
        routing = self._engine.match(ready, self._styles, self._params)
        named = (ready, self._styles, routing)
        found = score(self._net, made, *named, named)
        return {name: found[name] for name in ("regional gram", "ssim")}


def table_of(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table: medians of seconds without the first item, means of metrics."""
    lines = ["| procedure | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    baseline: dict[int, float] = {}
    for references, name in dict.fromkeys((row["references"], row["procedure"]) for row in rows):
        own = [row for row in rows if (row["references"], row["procedure"]) == (references, name)]
        later = [row["s/item"] for row in own if not row["first"]] or [own[0]["s/item"]]
        seconds = median(later)
        if name == PUBLISHED:
            baseline[references] = seconds
        cells = {
            "references": str(references),
            "s/item": f"{seconds:.2f}",
            "least": f"{min(later):.2f}",
            "most": f"{max(later):.2f}",
            "first item": f"{own[0]['s/item']:.2f}",
            "items/h": f"{3600 / seconds:.0f}",
            "UNet calls": f"{median(row['UNet calls'] for row in own[-len(later) :]):.0f}",
            "of peak": f"{median(row['of peak'] for row in own[-len(later) :]):.2f}",
            "GB": f"{max(row['GB'] for row in own):.2f}",
        }
        if references in baseline:
            cells["times faster"] = f"{baseline[references] / seconds:.1f}"
        for figure in ("regional gram", "ssim"):
            if figure in own[0]:
                cells[figure] = f"{mean(row[figure] for row in own):.3f}"
        lines.append(f"| {name} | " + " | ".join(cells.get(c, "") for c in COLUMNS) + " |")
    return "\n".join(lines)


def _shrunk(params: StyleParams, shrink: int) -> StyleParams:
    return params.model_copy(update={"steps": max(1, params.steps // shrink)})


def _parser() -> argparse.ArgumentParser:
    parser = picture_parser("Time the published procedure and ours.")
    parser.add_argument("--out", type=Path, required=True, help="folder for table and rows")
    parser.add_argument("--model", default="embedded", help=f"model, or {SD15} for random weights")
    parser.add_argument("--size", type=int, default=256, help="sides of the photos in pixels")
    parser.add_argument("--references", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--batches", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3, help="items per procedure")
    parser.add_argument(
        "--procedures",
        "--ways",
        nargs="+",
        help="only these; names of the table, with or without batch",
    )
    parser.add_argument(
        "--shrink", type=int, default=1, help="divides all steps, to try the script"
    )
    parser.add_argument(
        "--matrix", type=int, default=4096, help="side of the matrices for the peak"
    )
    parser.add_argument("--threads", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
