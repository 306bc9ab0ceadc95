"""Cancelled in the Prefect UI: a real server, a served deployment, and a run in its middle."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.states import Cancelling

from schemas.arrow import to_table
from schemas.manifest import CatalogRow, GalleryRow
from schemas.run import RestyleSpec
from tasks import planning
from tasks.ledger import read_ledger
from tests.s3_server import free_port
from tests.tasks.pictures import noise, save
from tests.tiny_model import write_tiny_model

SERVE = "from flows.restyle import restyle_catalog; restyle_catalog.serve('test')"
_PATIENCE = 200.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which Prefect's clients find a real server and a served deployment."""
    port = free_port()
    env = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "RAY_worker_niceness": "0",
        "OMP_NUM_THREADS": "1",
    }
    prefect = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    commands = [[*prefect, "--port", str(port), "--no-ui"], [sys.executable, "-c", SERVE]]
    home, processes = Path(__file__).parents[2], []
    try:
        for number, command in enumerate(commands):
            log = (tmp_path / f"{number}.log").open("wb")
            made = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log)
            log.close()
            processes.append(made)
            if not number:
                _until(lambda: asyncio.run(_healthy(env)), made)
        yield env
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=60)


async def _healthy(env: dict[str, str]) -> bool:
    async with PrefectClient(env["PREFECT_API_URL"]) as client:
        return await client.api_healthcheck() is None


def _until(true: Any, *living: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not true():
        assert all(process.poll() is None for process in living), "it ended by itself"
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.3)


@pytest.fixture
def spec(tmp_path: Path) -> RestyleSpec:
    write_tiny_model(tmp_path / "model")
    for name in ("cup", "wheat"):
        save(tmp_path / f"{name}.png", noise(64, 64))
    photos = [CatalogRow(product_id=f"p{i}", image_uri="cup.png", seed=i) for i in range(300)]
    style = GalleryRow(gallery_id="field", style_id="wheat", image_uri="wheat.png")
    pq.write_table(to_table(photos, CatalogRow), tmp_path / "catalog.parquet")
    pq.write_table(to_table([style], GalleryRow), tmp_path / "galleries.parquet")
    return RestyleSpec.model_validate(
        {
            "catalog": str(tmp_path / "catalog.parquet"),
            "galleries": [str(tmp_path / "galleries.parquet")],
            "output": str(tmp_path / "out"),
            "params": {"steps": 1, "inversion_steps": 2, "max_regions": 2},
            "engine": {"model": str(tmp_path / "model")},
            "pool": {"lease": 2},
        }
    )


async def _start(env: dict[str, str], spec: RestyleSpec) -> UUID:
    async with PrefectClient(env["PREFECT_API_URL"]) as client:
        for _ in range(300):
            try:
                deployment = await client.read_deployment_by_name("restyle-catalog/test")
                break
            except Exception:
                await asyncio.sleep(0.3)
        parameters = {"spec": spec.model_dump(mode="json")}
        made = await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        return made.id


async def _cancel(env: dict[str, str], run: UUID) -> None:
    async with PrefectClient(env["PREFECT_API_URL"]) as client:
        await client.set_flow_run_state(run, Cancelling())


async def _state(env: dict[str, str], run: UUID) -> str:
    async with PrefectClient(env["PREFECT_API_URL"]) as client:
        found = await client.read_flow_run(run)
        return found.state.name if found.state else ""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cancelled_run_keeps_what_is_done_and_stops_its_engines(
    server: dict[str, str], spec: RestyleSpec
) -> None:
    plan = planning.plan(spec)
    run = asyncio.run(_start(server, spec))
    _until(lambda: len(read_ledger(spec.output, plan.run_id)) > 3)
    record = json.loads(Path(plan.files.record).read_text())
    assert record["state"] == "running"
    assert Path(plan.files.lock).exists()
    asyncio.run(_cancel(server, run))
    _until(lambda: asyncio.run(_state(server, run)) not in ("Running", "Cancelling"))
    assert asyncio.run(_state(server, run)) == "Cancelled"
    record = json.loads(Path(plan.files.record).read_text())
    assert record["state"] == "cancelled"
    assert not Path(plan.files.lock).exists()
    assert not Path(plan.files.success).exists()
    done = len(read_ledger(spec.output, plan.run_id))
    assert 3 < done < 300
    pictures = len(list(Path(spec.output, "assets").rglob("*.png")))
    time.sleep(3)
    assert len(list(Path(spec.output, "assets").rglob("*.png"))) == pictures  # nobody goes on
    again = planning.plan(spec)
    assert (again.run_id, again.counts.done) == (plan.run_id, done)
