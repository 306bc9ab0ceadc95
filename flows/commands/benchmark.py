"""`stylegallery benchmark`: methods side by side on a folder of photos and style families."""

from pathlib import Path
from typing import Annotated, get_args

from cyclopts import Parameter, validators

from flows.console import bar, say
from flows.usage import UsageError
from schemas.engine import EngineSpec
from schemas.methods import Method
from schemas.presets import Preset


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
    model: Annotated[str, Parameter(help="As for `run`.")] = "embedded",
    device: Annotated[str, Parameter(help="As for `run`.")] = "auto",
) -> None:
    """Restyle the same pairs by several methods on one model, and say which is ahead.

    The same command again goes on where it stopped; another with the same folder adds its methods
    or pairs, and the table holds all of them.
    """
    from stylegallery import StyleGallery
    from stylegallery.benchmark import Bench, Entry, pairs_of
    from stylegallery.benchmark_folder import BenchmarkFolder

    counts, plain = references or [1], list[Preset](["balanced"])
    if min(counts) < 1:
        raise UsageError("--references: give numbers from 1 on")
    chosen = pairs_of(contents, styles, pairs, max(counts))
    entries = [
        Entry(method, preset, count)
        for count in counts
        for method in methods or get_args(Method)
        for preset in (presets or plain if method == "stylegallery" else plain)
    ]
    folder, bench = BenchmarkFolder(out), None
    with bar("pairs", len(chosen)) as advance:
        for number, pair in enumerate(chosen):
            left = [entry for entry in entries if not folder.has(pair, entry)]
            if left and bench is None:
                spec = {"model": model, "device": device}
                bench = Bench(StyleGallery.load(EngineSpec.model_validate(spec)))
            if left and bench:
                for entry, row, picture in bench.run(pair, left):
                    folder.keep(pair, entry, row, picture)
            advance(number + 1)
    print(folder.write(chosen, entries))
    say(f"{out}: table.md, rows.parquet, pictures and contact sheets")
