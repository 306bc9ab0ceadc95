"""Materials compared: how far each method takes on stitches and threads, and keeps the product.

    python -m tests.benchmarks.materials --contents PHOTOS --references EMBROIDERIES --out DIR

Without references the six drawn materials are used. A row a method, mean over all pairs; the row
`photo` is the untouched photo. `DIR/sheet-MATERIAL.png` shows the material, and a line of photos
above a line of results for each method.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from PIL import Image
from torch import Tensor

from schemas.evaluation import ExternalWeights
from schemas.methods import Method, method_info
from schemas.params import StyleParams
from stylegallery import StyleGallery
from stylegallery.adapters.adapter import Adapter
from stylegallery.images.codec import open_picture, to_bytes
from stylegallery.images.picture import Picture
from stylegallery.images.suffixes import IMAGE_SUFFIXES
from stylegallery.metrics.item import MetricSuite
from tests.benchmarks.drawn_materials import DRAWN, drawn_material
from tests.benchmarks.pictures import fitted, photos, shrunk

COLUMNS = (
    "hfrd", "content_colour_distance", "cfsd", "gram_ratio", "patch_distance", "ssim",
    "edge_agreement", "learn", "cpu",
)  # fmt: skip
_PASSES: dict[str, Any] = {"sms": {"passes": 16}}
_KEPT_COLOR = {"match_tone": False, "color": "keep-chroma"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Restyle all products in all materials; write `table.md`, `rows.jsonl` and the sheets."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    suite = MetricSuite(ExternalWeights(cfsd=options.cfsd) if options.cfsd else None)
    engine = StyleGallery.load(options.model)
    side = options.short_side
    paths = photos(options.contents)
    chosen = [paths[n * len(paths) // options.products] for n in range(options.products)]
    products = [shrunk(open_picture(path), side) for path in chosen]
    rows: list[dict[str, Any]] = []
    for name, material in _materials(options.references, options.materials, side).items():
        lines = [[material.pixels, *(product.pixels for product in products)]]
        features = [suite.reference_features(material.pixels)]
        for product in products:
            metrics = suite.score(product.pixels, product.pixels, features, []).metrics
            rows.append({"material": name, "method": "photo", **metrics})
        for method in options.methods:
            params = _params(method, options)
            begin = time.process_time()
            adapters = _learnt(engine, material, params)
            learn = time.process_time() - begin
            line = [material.pixels]
            for product in products:
                made, seconds = _restyled(engine, product, material, params, adapters)
                metrics = suite.score(made, product.pixels, features, []).metrics
                costs = {"learn": learn, "cpu": seconds}
                rows.append({"material": name, "method": method, **metrics, **costs})
                line.append(made)
            lines.append(line)
            print(name, method, f"{learn:.0f} s to learn", flush=True)
        # Written after each material, because a run of hours may be stopped.
        (options.out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        _sheet(lines).save(options.out / f"sheet-{name}.png")
    text = table(rows, ["photo", *options.methods])
    (options.out / "table.md").write_text(text + "\n")
    print(text)


def table(rows: Sequence[dict[str, Any]], methods: Sequence[str]) -> str:
    """Return a Markdown table of means over the pairs of each method; what is unknown is empty."""
    found = ["| method | pairs | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        cells = []
        for column in COLUMNS:
            known = [row[column] for row in own if column in row]
            cells.append(f"{sum(known) / len(known):.3f}" if known else "")
        found.append(f"| {method} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(found)


def _materials(folder: Path | None, names: Sequence[str], side: int) -> dict[str, Picture]:
    if folder is None:
        return {name: shrunk(drawn_material(name), side) for name in names}
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    return {path.stem: shrunk(open_picture(path), side) for path in paths}


def _params(method: Method, options: argparse.Namespace) -> StyleParams:
    changes = {"adapter_steps": options.adapter_steps, **_PASSES.get(method, {})}
    kept = _KEPT_COLOR if options.keep_color else {}
    return StyleParams(method=method, **changes, **kept)


def _learnt(engine: StyleGallery, material: Picture, params: StyleParams) -> tuple[Adapter, ...]:
    return (engine.learn([material], params),) if method_info(params.method).learns else ()


def _restyled(
    engine: StyleGallery,
    product: Picture,
    material: Picture,
    params: StyleParams,
    adapters: tuple[Adapter, ...],
) -> tuple[Tensor, float]:
    """Return the result (1, 3, H, W), and its CPU seconds without those of the reference."""
    styles = [engine.prepare(material, params)]
    begin = time.process_time()
    content = engine.prepare(product, params)
    routing = engine.match(content, styles, params)
    made = engine.stylize(content, styles, routing, params, adapters=adapters)
    return made.picture.pixels, time.process_time() - begin


def _sheet(lines: list[list[Tensor]]) -> Image.Image:
    """Return all pictures in a grid, 256 px each."""
    rows = [torch.cat([fitted(picture) for picture in line], 3) for line in lines]
    return Image.fromarray(to_bytes(torch.cat(rows, 2)).permute(1, 2, 0).numpy())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare methods on materials.")
    parser.add_argument("--contents", type=Path, help="folder of photos")
    parser.add_argument("--references", type=Path, help="folder of photos of materials")
    parser.add_argument("--materials", nargs="+", choices=list(DRAWN), default=list(DRAWN))
    parser.add_argument("--out", type=Path, required=True, help="folder for table and sheets")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--methods", nargs="+", choices=get_args(Method), default=get_args(Method))
    parser.add_argument("--products", type=int, default=12)
    parser.add_argument("--short-side", type=int, default=512, help="larger pictures are resized")
    parser.add_argument("--adapter-steps", type=int, default=0, help="0 is by the model")
    parser.add_argument("--keep-color", action="store_true", help="keep the photo's hues always")
    parser.add_argument("--cfsd", help="VGG19 weights, vgg19-dcbb9e9d.pth")
    return parser


if __name__ == "__main__":
    main()
