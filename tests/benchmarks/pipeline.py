"""Benchmark of the pipeline without the engine: planning, actors, files and tables.

    python -m tests.benchmarks.pipeline plan --products 1000000
    python -m tests.benchmarks.pipeline run --products 5000
    python -m tests.benchmarks.pipeline rows --products 5000 100000
    python -m tests.benchmarks.pipeline resume --products 500000

`plan` plans products x 2 galleries. `run` runs them with real actors whose engine returns each
photo unchanged. `rows` writes no files either: actors only send rows, so that many items finish
quickly and the peak memory of the driver can be measured. `resume` has no actors: it times the same
command on a finished run. Products share a hundred photos.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.result import ItemResult, MatchRow
from schemas.run import PoolSpec, RestyleSpec
from tasks import planning
from tasks.execution.actor import StyleActor
from tasks.execution.execute import execute
from tasks.execution.metrics import CacheMetrics
from tasks.messages import ActorSetup, Assignment, PreparingReferences
from tasks.records.item_key import key_of
from tasks.records.ledger import Ledger
from tasks.report.build import build_report
from tasks.results import finalize

_PHOTOS, _REFERENCES, _SIDE = 100, 3, 96
_CLEAR = Path("/proc/self/clear_refs")


def main(arguments: list[str] | None = None) -> None:
    """Run the stages in a temporary folder and print one line per stage and size."""
    options = _parser().parse_args(arguments)
    print("| products | items | stage | seconds | items/s | driver MB |\n|---|---|---|---|---|---|")
    for products in options.products:
        with TemporaryDirectory() as home:
            spec = _written(Path(home), products, options.actors)
            for stage, items, seconds, peak in _stages(options.what, spec):
                speed = f"{items / seconds:.0f}" if seconds else ""
                cells = (str(products), str(items), stage, f"{seconds:.1f}", speed, str(peak))
                print(f"| {' | '.join(cells)} |", flush=True)


def _stages(what: str, spec: RestyleSpec) -> Iterator[tuple[str, int, float, int]]:
    """Yield the name, items, seconds and peak driver memory in MB of each stage."""
    clock = _Clock()
    plan = planning.make_plan(spec)
    planning.write_plan(plan)
    items = len(plan.items)
    yield "plan", items, *clock.lap()
    if what == "plan":
        return
    if what == "resume":
        ledger = Ledger(plan.files)
        for item in plan.items:
            ledger.append(_row(Assignment(item)).model_copy(update={"run_id": plan.run_id}))
        ledger.commit()
    else:
        execute(plan, actor=_UNCHANGED[what])
    yield "execute", items, *clock.lap()
    summary = finalize.write_results(plan)
    assert summary.ok == items
    yield "tables", items, *clock.lap()
    build_report(spec.output, plan.run_id)
    yield "report", items, *clock.lap()
    finalize.finalize(spec, plan.run_id, plan, summary)
    clock.lap()
    assert planning.make_plan(spec).summary == summary
    yield "the same command again", items, *clock.lap()


class _Clock:
    """Measures seconds and memory between calls."""

    def __init__(self) -> None:
        self.lap()

    def lap(self) -> tuple[float, int]:
        """Return the seconds and the peak memory in MB since the last call."""
        status = Path("/proc/self/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        now = time.perf_counter()
        seconds = now - getattr(self, "_begin", now)
        _CLEAR.write_text("5")  # Linux: resets the process's high-water mark
        self._begin = now
        return seconds, int(peak.split()[1]) // 1024


class EchoEngine:
    """An engine that finds one region and returns each picture unchanged."""

    def __init__(self) -> None:
        import torch

        self.models = SimpleNamespace(device=torch.device("cpu"))

    def prepare(self, picture: Any, params: Any, labels: Any = None) -> Any:
        import torch

        from stylegallery.regions.descriptors import describe
        from stylegallery.regions.region_map import RegionMap
        from stylegallery.types import PreparedImage

        latent, regions = torch.zeros(1, 4, 8, 8), RegionMap.whole((8, 8))
        return PreparedImage(picture, latent, regions, describe(regions, latent, latent))

    def match(self, content: Any, styles: Any, params: Any, *rest: Any) -> Any:
        from stylegallery.matching.matching import match_whole

        described = [style.descriptors for style in styles]
        return match_whole(content.descriptors, described, *rest)

    def sample_batch(self, jobs: list[Any], params: Any) -> list[Any]:
        from stylegallery.types import RestyledLatent

        return [RestyledLatent(job, job.content.latent, ()) for job in jobs]

    def decode(self, restyled: Any, params: Any) -> Any:
        from stylegallery.types import RestyledImage

        return RestyledImage(restyled.job.content.picture, restyled.job.routing, ())


class EchoActor(StyleActor):
    """The real actor with :class:`EchoEngine`."""

    def __init__(self, setup: ActorSetup) -> None:
        import torch

        from tasks.items.context import ActorContext

        torch.set_num_threads(1)
        self._setup = setup
        engine: Any = EchoEngine()
        self._context = ActorContext(engine, setup.output, setup.params)
        self._cache_metrics = CacheMetrics()


class RowActor(StyleActor):
    """An actor that writes no files and only sends rows."""

    def __init__(self, setup: ActorSetup) -> None:
        self._setup = setup
        self._context: Any = SimpleNamespace(batch=1)

    def _announced(self, group: list[Assignment]) -> Iterator[PreparingReferences]:
        return iter(())

    def _restyle(
        self, group: list[Assignment], remaining: list[Assignment]
    ) -> list[Callable[[], ItemResult]]:
        return [partial(_row, assignment) for assignment in group]


_UNCHANGED: dict[str, type[StyleActor]] = {"run": EchoActor, "rows": RowActor}


def _row(assignment: Assignment) -> ItemResult:
    match = MatchRow(
        region=0, area=1, centroid_x=0.5, centroid_y=0.5, style_id="1", style_region=0,
        semantic=1, statistical=1, geometric=1, similarity=1, fallback="none",
    )  # fmt: skip
    return ItemResult(
        **key_of(assignment.item)._asdict(),
        status="ok",
        asset_uri=assignment.item.asset_key,
        asset_sha256="0" * 64,
        asset_bytes=1,
        matches=[match.model_copy(update={"region": k}) for k in range(3)],
        timings={"total": 0.0},
        finished_at=datetime.now(UTC),
    )


def _written(home: Path, products: int, actors: int) -> RestyleSpec:
    import numpy as np
    from PIL import Image
    from skimage import data

    cat = data.chelsea()
    for k in range(_PHOTOS):
        Image.fromarray(np.roll(cat, 7 * k, 1)[:_SIDE, :_SIDE]).save(home / f"{k}.png")
    numbers = range(products)
    catalog = {
        "product_id": [f"sku-{number:07d}" for number in numbers],
        "image_uri": [f"{number % _PHOTOS}.png" for number in numbers],
        "season": ["ss27"] * products,
    }
    pq.write_table(pa.table(catalog), home / "catalog.parquet")
    ids = [(gallery, k) for gallery in ("linen", "oils") for k in range(_REFERENCES)]
    galleries = {
        "gallery_id": [gallery for gallery, _ in ids],
        "style_id": [str(k) for _, k in ids],
        "image_uri": [f"{k}.png" for _, k in ids],
    }
    pq.write_table(pa.table(galleries), home / "galleries.parquet")
    return RestyleSpec(
        catalog=str(home / "catalog.parquet"),
        galleries=[str(home / "galleries.parquet")],
        output=str(home / "out"),
        pool=PoolSpec(actors=actors, chunk_size=32),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The pipeline without the engine.")
    parser.add_argument("what", choices=["plan", "run", "rows", "resume"])
    parser.add_argument("--products", type=int, nargs="+", default=[1000])
    parser.add_argument("--actors", type=int, default=2)
    return parser


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
