"""What a run is made of here: photos and references on the S3 server, a model, two outputs."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from skimage import data

from schemas.engine import EngineSpec
from schemas.params import StyleParams
from schemas.run import PoolSpec, RestyleSpec
from tests.s3_server import S3Server
from tests.tasks.conftest import write_galleries
from tests.tasks.pictures import save
from tests.tiny_model import write_tiny_model

CALM, STORMY = "calm", "stormy"
"""Outputs of the run without and with faults."""

_HEIGHT, _WIDTH = 96, 80
_GALLERIES = 2
_PARAMS = StyleParams(steps=1, inversion_steps=2, image_size=64, max_regions=3)


def write_inputs(server: S3Server, items: int) -> None:
    """Write catalog and galleries below `in/`, where they are of two galleries and even items."""
    folder = server.file("in")
    sources = [data.chelsea(), data.coffee(), data.astronaut()]
    products = items // _GALLERIES
    for i in range(products):
        source = sources[i % len(sources)]
        tall, wide = source.shape[0] - _HEIGHT, source.shape[1] - _WIDTH
        top, left = 37 * i % tall, 53 * i % wide
        save(folder / f"p{i}.png", source[top : top + _HEIGHT, left : left + _WIDTH])
    catalog = {
        "product_id": [f"p{i}" for i in range(products)],
        "image_uri": [f"p{i}.png" for i in range(products)],
    }
    pq.write_table(pa.table(catalog), folder / "catalog.parquet")
    write_galleries(folder)


def make_spec(server: S3Server, home: Path, output: str, ray_address: str) -> RestyleSpec:
    """Describe a run; its model is written when it is not there yet."""
    model = home / "model"
    if not model.exists():
        write_tiny_model(model)
    return RestyleSpec(
        catalog=server.uri("in/catalog.parquet"),
        galleries=[server.uri("in/galleries.parquet")],
        output=server.uri(output),
        params=_PARAMS,
        engine=EngineSpec(model=str(model), device="cpu"),
        pool=PoolSpec(
            cpus_per_actor=1,  # one actor on each node, as many as there are
            lease=4,
            item_deadline=120,
            max_attempts=10,  # an innocent item may be at hand more than three times
            ray_address=ray_address,
        ),
    )


def assets_done(server: S3Server, output: str) -> int:
    """Return how many assets stand, as the disk behind the server shows it."""
    return sum(1 for _ in server.file(f"{output}/assets").rglob("*.png"))


def holder(server: S3Server, output: str) -> int:
    """Return the process that holds the run of an output, as the disk shows it; 0 for none."""
    for lock in server.file(f"{output}/runs").glob("*/lock.json"):
        try:
            return int(json.loads(lock.read_text())["pid"])
        except (OSError, ValueError):
            continue  # it is being written
    return 0
