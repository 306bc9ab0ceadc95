"""Explain one item from a run's files: region maps, matches and a routing file to edit."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import torch

from schemas.arrow import from_table
from schemas.result import ItemResult
from schemas.work import WorkItem, path_segment
from stylegallery.errors import BadImage
from stylegallery.images import codec
from stylegallery.images.picture import Picture
from stylegallery.matching.correspondence import routing_json
from stylegallery.regions.region_map import RegionMap
from stylegallery.regions.region_png import decode_region_map
from stylegallery.visualize import match_panel
from tasks.errors import FileMissing, RecordError
from tasks.records import parquet
from tasks.records.layout import RunFiles
from tasks.records.plan_parts import RunPlan
from tasks.storage import MAX_IMAGE_BYTES, StoragePath


@dataclass(frozen=True)
class Explanation:
    """Files that explain one item.

    Attributes:
        folder: Name for their folder: GALLERY/PRODUCT/VIEW.
        files: File name to bytes: `matches.png`, `routing.json`, and the region maps of the
            content and of each reference.
    """

    folder: str
    files: dict[str, bytes]


@dataclass(frozen=True)
class _Mapped:
    picture: Picture
    regions: RegionMap


def explain(
    output: str, run_id: str, product_id: str, view: str = "main", gallery_id: str = ""
) -> Iterator[Explanation]:
    """Yield one explanation per result of a product.

    Args:
        output: The output root.
        run_id: A run with results.
        product_id: The product.
        view: The view.
        gallery_id: Only this gallery; empty for all.

    Raises:
        FileMissing: the run has no such result with an asset.
        InputError: an image cannot be decoded.
        RecordError: a table or region map is damaged.
        StorageError: a file cannot be read.
    """
    files, found = RunFiles(StoragePath.parse(output), run_id), 0
    run_plan = RunPlan(files)
    for name, part in parquet.read_parts(files.results, ItemResult):
        wanted = pc.and_(
            pc.and_(pc.equal(part["product_id"], product_id), pc.equal(part["view"], view)),
            pc.equal(part["status"], "ok"),
        )
        if gallery_id:
            wanted = pc.and_(wanted, pc.equal(part["gallery_id"], gallery_id))
        places = pa.array(pc.indices_nonzero(wanted))
        if not len(places):
            continue
        planned = run_plan.part(name)
        rows = from_table(part.take(places), ItemResult)
        items = run_plan.items(planned.take(places))
        for row, item in zip(rows, items, strict=True):
            found += 1
            yield _explain(files.output, row, item)
    if not found:
        where = f" in gallery {gallery_id}" if gallery_id else ""
        raise FileMissing(
            f"{run_id} has no finished result of {product_id}, view {view}{where}; its "
            "results/ and report list the results"
        )


def _explain(output: StoragePath, row: ItemResult, item: WorkItem) -> Explanation:
    maps = {"content": row.regions_uri or "", **row.style_regions}
    data = {name: (output / path).read_bytes() for name, path in maps.items()}
    content = _mapped(item.image_uri, data["content"])
    styles = [_mapped(style.image_uri, data[style.style_id]) for style in item.styles]
    panel = io.BytesIO()
    names = [style.style_id for style in item.styles]
    match_panel(content, styles, row.matches, names).save(panel, "PNG")
    return Explanation(
        "/".join(map(path_segment, (row.gallery_id, row.product_id, row.view))),
        {
            "matches.png": panel.getvalue(),
            "routing.json": routing_json(row.matches).encode(),
            "regions-content.png": data["content"],
            **{f"regions-style-{path_segment(name)}.png": data[name] for name in names},
        },
    )


def _mapped(uri: str, labels: bytes) -> _Mapped:
    picture = codec.decode(StoragePath.parse(uri).read_bytes(MAX_IMAGE_BYTES), uri)
    try:
        grid = torch.from_numpy(decode_region_map(labels).astype("int64"))
    except BadImage as error:
        raise RecordError(f"the region map of {uri} is damaged: {error}") from error
    return _Mapped(picture, RegionMap(grid))
