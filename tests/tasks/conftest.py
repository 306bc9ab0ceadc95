"""Fixtures: one Ray, one tiny model, small manifests."""

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from skimage import data as photos

from schemas.engine import EngineSpec
from schemas.params import LATER, StyleParams
from schemas.run import PoolSpec, RestyleSpec
from stylegallery import StyleGallery
from tasks.items.context import ActorContext
from tests.s3_server import S3Server
from tests.tasks.pictures import save
from tests.tasks.places import at
from tests.tiny_model import write_tiny_model

PARAMS = StyleParams(
    steps=1,
    inversion_steps=2,
    image_size=64,
    max_regions=3,
    strength=0.6,
    learning_rate=0.14,
    **LATER,
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder with a tiny model."""
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[StyleGallery]:
    """The tiny model, on one CPU thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield StyleGallery.load(EngineSpec(model=str(tiny_model), device="cpu"))
    torch.set_num_threads(threads)


@pytest.fixture
def context(engine: StyleGallery, tmp_path: Path) -> ActorContext:
    """An actor's context with an empty output."""
    return ActorContext(engine, at(tmp_path / "out"), PARAMS)


@pytest.fixture
def moto_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder in a bucket of a moto server, which has conditional writes and keys like AWS."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    address = f"http://127.0.0.1:{port}"
    # All moto servers in a process share their buckets.
    urllib.request.urlopen(f"{address}/moto-api/reset", data=b"").close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="moto")
    yield "s3://moto/in"
    server.stop()


@pytest.fixture(scope="session")
def ray_here(s3: S3Server) -> Iterator[None]:
    """A local Ray whose workers can reach the S3 server: they inherit this environment."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**s3.env, "RAY_worker_niceness": "0"}.items():
            patch.setenv(name, value)
        ray.init(
            address="local",
            num_cpus=2,
            num_gpus=0,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=128 * 2**20,
        )
    yield
    ray.shutdown()


MakeSpec = Callable[..., RestyleSpec]


@pytest.fixture
def make_spec(tmp_path: Path, tiny_model: Path) -> MakeSpec:
    """Return a function that makes specs of `products` photos and two galleries."""

    def make(products: int = 3, output: str = "", **changes: Any) -> RestyleSpec:
        source = tmp_path / "in"
        write_catalog(source, products)
        write_galleries(source)
        return RestyleSpec(
            catalog=str(source / "catalog.parquet"),
            galleries=[str(source / "galleries.parquet")],
            output=output or str(tmp_path / "out"),
            params=changes.pop("params", PARAMS),
            engine=EngineSpec(model=str(tiny_model)),
            pool=changes.pop("pool", PoolSpec(cpus_per_actor=1, chunk_size=2)),
            **changes,
        )

    return make


def write_catalog(folder: Path, products: int, **columns: list[Any]) -> Path:
    """Write differently cropped photos of a cat, and their catalog."""
    cat = photos.chelsea()
    for i in range(products):
        save(folder / f"p{i}.png", cat[i : i + 96, 100 + 3 * i : 180 + 3 * i])
    table = {
        "product_id": [f"p{i}" for i in range(products)],
        "image_uri": [f"p{i}.png" for i in range(products)],
        **columns,
    }
    pq.write_table(pa.table(table), folder / "catalog.parquet")
    return folder / "catalog.parquet"


def write_galleries(folder: Path) -> Path:
    """Write two galleries: `coffee` with two references, `rocket` with one."""
    save(folder / "s0.png", photos.coffee()[:80, :80])
    save(folder / "s1.png", photos.coffee()[200:280, 200:280])
    save(folder / "s2.png", photos.rocket()[:80, :80])
    table = {
        "gallery_id": ["coffee", "coffee", "rocket"],
        "style_id": ["cup", "table", "sky"],
        "image_uri": ["s0.png", "s1.png", "s2.png"],
        "license": ["CC0", "CC0", "CC0"],
    }
    pq.write_table(pa.table(table), folder / "galleries.parquet")
    return folder / "galleries.parquet"
