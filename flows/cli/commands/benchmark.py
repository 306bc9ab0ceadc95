"""`stylegallery benchmark`: methods side by side on a folder of photos and style families."""

from pathlib import Path
from typing import Annotated, get_args

from cyclopts import Parameter, validators

from flows.cli.console import bar, say
from flows.runtime.errors import UsageError
from schemas.engine import EngineSpec
from schemas.methods import Method
from schemas.presets import Preset
from stylegallery.models.threads import limit_threads


def benchmark(
    *,
    contents: Annotated[Path, Parameter(help="Folder of photos.")],
    styles: Annotated[Path, Parameter(help="Folder that holds a folder of images for each style.")],
    out: Annotated[Path, Parameter(help="Folder for table, rows, pictures and contact sheets.")],
    methods: Annotated[
        list[Method] | None,
        Parameter(help="Methods to compare, all by default; repeatable.", negative_iterable=()),
    ] = None,
    presets: Annotated[
        list[Preset] | None,
        Parameter(
            help="Presets of method stylegallery, `balanced` by default; repeatable.",
            negative_iterable=(),
        ),
    ] = None,
    references: Annotated[
        list[int] | None,
        Parameter(help="Numbers of references, 1 by default; repeatable.", negative_iterable=()),
    ] = None,
    pairs: Annotated[
        int,
        Parameter(
            help="Pairs of photo and style; fewer are the first of more.",
            validator=validators.Number(gte=1),
        ),
    ] = 40,
    batch: Annotated[
        int,
        Parameter(help="Pairs that share UNet calls.", validator=validators.Number(gte=1)),
    ] = 1,
    model: Annotated[str, Parameter(help="As for `run`.")] = "embedded",
    device: Annotated[str, Parameter(help="As for `run`.")] = "auto",
) -> None:
    """Restyle the same pairs by several methods on one model, and say which is ahead.

    The same command again goes on where it stopped; another with the same folder adds its methods
    or pairs, and the table holds all of them.
    """
    limit_threads()
    from stylegallery import StyleGallery
    from stylegallery.benchmark.folder import BenchmarkFolder
    from stylegallery.benchmark.runner import BenchmarkRunner, BenchmarkVariant, Pair, make_pairs

    counts, plain = references or [1], list[Preset](["balanced"])
    if min(counts) < 1:
        raise UsageError("--references: give numbers from 1 on")
    chosen = make_pairs(contents, styles, pairs, max(counts))
    variants = [
        BenchmarkVariant(method, preset, count)
        for count in counts
        for method in methods or get_args(Method)
        for preset in (presets or plain if method == "stylegallery" else plain)
    ]
    folder, runner = BenchmarkFolder(out), None
    with bar("pairs", len(chosen)) as advance:
        for first in range(0, len(chosen), batch):
            some = chosen[first : first + batch]
            alike: dict[tuple[BenchmarkVariant, ...], list[Pair]] = {}
            for pair in some:
                left = tuple(variant for variant in variants if not folder.has(pair, variant))
                alike.setdefault(left, []).append(pair)
            for left, group in alike.items():
                if left and runner is None:
                    spec = {"model": model, "device": device}
                    runner = BenchmarkRunner(StyleGallery.load(EngineSpec.model_validate(spec)))
                for made in runner.run(group, left) if runner else ():
                    folder.save(*made)
            advance(first + len(some))
    print(folder.write(chosen, variants))
    say(f"{out}: table.md, rows.parquet, pictures and contact sheets")
