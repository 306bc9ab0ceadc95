"""Profile the actors of a real run, and measure the cost of a second gallery.

    python -m tests.benchmarks.catalog_profile --contents PHOTOS --styles FAMILIES --products 40

It restyles products in two galleries of three references each. Each actor measures its time in UNet
calls, in their gradients, and in the attention to references that the energies compute, from its
first item to its last. Without folders it uses the photos and patterns of the other benchmarks.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.engine import EngineSpec
from schemas.presets import preset_params
from schemas.result import ItemResult
from schemas.run import PoolSpec, RestyleSpec
from tasks import planning
from tasks.execution.actor import StyleActor
from tasks.execution.execute import execute
from tasks.messages import ActorSetup, Assignment
from tasks.results import finalize

_REFERENCES = 3
_NOTES = "profile"
_WATCHED = ("UNet calls", "gradients", "attention to references")


class ProfiledActor(StyleActor):
    """The real actor, which times its UNet calls, gradients and attention to references."""

    def __init__(self, setup: ActorSetup) -> None:
        import torch

        from stylegallery.guidance import guidance

        super().__init__(setup)
        self._inside = dict.fromkeys(_WATCHED, 0.0)
        self._begin = 0.0
        unet = self._context.engine.models.unet
        unet.forward = self._timed("UNet calls", unet.forward)
        torch.autograd.grad = self._timed("gradients", torch.autograd.grad)
        guidance.style_target = self._timed("attention to references", guidance.style_target)

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self._inside[name] += time.perf_counter() - begin

        return timed

    def _restyle(
        self, group: list[Assignment], remaining: list[Assignment]
    ) -> list[Callable[[], ItemResult]]:
        self._begin = self._begin or time.perf_counter()
        return super()._restyle(group, remaining)

    def _complete(self, assignment: Assignment, row: ItemResult) -> ItemResult:
        note = {**self._inside, "wall": time.perf_counter() - self._begin}
        place = Path(self._setup.output.uri, _NOTES, f"{os.getpid()}.json")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(note))
        return super()._complete(assignment, row)


def main(arguments: list[str] | None = None) -> None:
    """Run the catalog and print two tables."""
    options = _parser().parse_args(arguments)
    with TemporaryDirectory() as home:
        spec = _written(Path(home), options)
        plan = planning.make_plan(spec)
        planning.write_plan(plan)
        execute(plan, actor=ProfiledActor)
        summary = finalize.finalize(spec, plan.run_id, plan)
        notes = [json.loads(path.read_text()) for path in Path(spec.output, _NOTES).iterdir()]
        rows = pq.read_table(plan.files.results.uri).to_pylist(maps_as_pydicts="strict")
    print(f"{summary.ok} of {summary.items} restyled by {len(notes)} actors")
    wall = sum(note["wall"] for note in notes)
    print("| inside | share of the actors' wall time |\n|---|---|")
    for name in _WATCHED:
        print(f"| {name} | {sum(note[name] for note in notes) / wall:.3f} |")
    stages = list(dict.fromkeys(name for row in rows for name in row["timings"]))
    print(f"\n| gallery | {' | '.join(stages)} |\n|---{'|---' * len(stages)}|")
    for gallery in sorted({row["gallery_id"] for row in rows}):
        own = [row["timings"] for row in rows if row["gallery_id"] == gallery]
        cells = (f"{mean(times.get(name, 0.0) for times in own):.2f}" for name in stages)
        print(f"| {gallery} | {' | '.join(cells)} |")


def _written(home: Path, options: argparse.Namespace) -> RestyleSpec:
    from stylegallery.images import codec
    from tests.benchmarks.pictures import cases

    work = cases(options.contents, options.styles, options.products, _REFERENCES)
    galleries = [work[0].references, work[1 % len(work)].references]
    pictures = {f"p{number:03d}": case.content for number, case in enumerate(work)}
    products = list(pictures)
    styles = [(name, str(k)) for name in ("first", "second") for k in range(_REFERENCES)]
    for (name, style), picture in zip(styles, galleries[0] + galleries[1], strict=True):
        pictures[f"{name}-{style}"] = picture
    for name, picture in pictures.items():
        (home / f"{name}.png").write_bytes(codec.encode(picture, "png"))
    catalog = {"product_id": products, "image_uri": [f"{name}.png" for name in products]}
    pq.write_table(pa.table(catalog), home / "catalog.parquet")
    table = {
        "gallery_id": [name for name, _ in styles],
        "style_id": [style for _, style in styles],
        "image_uri": [f"{name}-{style}.png" for name, style in styles],
    }
    pq.write_table(pa.table(table), home / "galleries.parquet")
    return RestyleSpec(
        catalog=str(home / "catalog.parquet"),
        galleries=[str(home / "galleries.parquet")],
        output=str(home / "out"),
        params=preset_params(options.preset),
        engine=EngineSpec(model=options.model),
        pool=PoolSpec(actors=options.actors),
    )


def _parser() -> argparse.ArgumentParser:
    from tests.benchmarks.pictures import picture_parser

    parser = picture_parser("Profile the actors of a real run.")
    parser.add_argument("--products", type=int, default=40)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--preset", default="balanced", choices=["quality", "balanced", "preview"])
    parser.add_argument("--actors", type=int, default=2)
    return parser


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
