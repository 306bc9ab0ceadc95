"""`stylegallery benchmark`: compare methods on a folder of photos and a folder of styles."""

from pathlib import Path
from typing import Annotated, get_args

from cyclopts import Parameter, validators

from flows.cli.console import print_stderr, progress_bar
from flows.runtime.errors import UsageError
from schemas.engine import EngineSpec
from schemas.methods import Method
from schemas.presets import Preset
from stylegallery.models.threads import limit_threads


def benchmark(
    *,
    contents: Annotated[Path, Parameter(help="Folder of photos.")],
    styles: Annotated[Path, Parameter(help="Folder with a sub-folder of images for each style.")],
    out: Annotated[Path, Parameter(help="Folder for the table, rows, images and contact sheets.")],
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
            help="Number of photo and style pairs. A smaller number is a prefix of a larger one.",
            validator=validators.Number(gte=1),
        ),
    ] = 40,
    batch: Annotated[
        int,
        Parameter(help="Pairs per UNet call.", validator=validators.Number(gte=1)),
    ] = 1,
    model: Annotated[str, Parameter(help="As for `run`.")] = "embedded",
    device: Annotated[str, Parameter(help="As for `run`.")] = "auto",
) -> None:
    """Restyle the same pairs with several methods on one model, and print a comparison.

    The same command resumes. Another command with the same folder adds its methods or pairs to the
    table.
    """
    limit_threads()
    from stylegallery import StyleGallery
    from stylegallery.benchmark.folder import BenchmarkFolder
    from stylegallery.benchmark.runner import BenchmarkRunner, BenchmarkVariant, Pair, make_pairs

    counts, plain = references or [1], list[Preset](["balanced"])
    if min(counts) < 1:
        raise UsageError("--references: numbers must be at least 1")
    chosen = make_pairs(contents, styles, pairs, max(counts))
    variants = [
        BenchmarkVariant(method, preset, count)
        for count in counts
        for method in methods or get_args(Method)
        for preset in (presets or plain if method == "stylegallery" else plain)
    ]
    folder, runner = BenchmarkFolder(out), None
    with progress_bar("pairs", len(chosen)) as advance:
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
    print_stderr(f"{out}: table.md, rows.parquet, images and contact sheets")
