"""A real Prefect server with `stylegallery serve` beside it, and what its UI would ask of it."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import State

from tests.s3_server import free_port

PATIENCE = 240.0
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Prefect:
    """A server with served deployments.

    Attributes:
        env: In which clients find it.
        url: Of its UI.
        log: What `stylegallery serve` has written.
    """

    env: dict[str, str]
    url: str
    log: Path

    def start(self, deployment: str, spec: dict[str, Any]) -> UUID:
        """Start a deployment as the form does, with every field."""

        async def start(client: PrefectClient) -> UUID:
            found = await client.read_deployment_by_name(deployment)
            run = await client.create_flow_run_from_deployment(found.id, parameters={"spec": spec})
            return run.id

        return self.ask(start)

    def state(self, run: UUID) -> State[Any]:
        """Return the state of a flow run."""
        found = self.ask(lambda client: client.read_flow_run(run)).state
        assert found
        return found

    def ended(self, run: UUID) -> State[Any]:
        """Wait for a flow run, and return how it ended."""
        until(lambda: self.state(run).is_final())
        return self.state(run)

    def artifacts(self, run: UUID) -> dict[str, Any]:
        """Return what a run has left, by key."""
        ids = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        found = self.ask(lambda client: client.read_artifacts(artifact_filter=ids))
        return {str(one.key): one.data for one in found}

    def logs(self, run: UUID) -> str:
        """Return what a run has logged."""
        ids = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
        return "\n".join(one.message for one in self.ask(lambda c: c.read_logs(ids, limit=200)))

    def ask(self, what: Callable[[PrefectClient], Any]) -> Any:
        """Return what the API answers."""

        async def ask() -> Any:
            async with PrefectClient(self.env["PREFECT_API_URL"]) as client:
                return await what(client)

        return asyncio.run(ask())


def until(true: Callable[[], bool], *living: subprocess.Popen[bytes]) -> None:
    """Wait for something to become true while some processes live."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert all(process.poll() is None for process in living), "it ended by itself"
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.3)


@contextmanager
def served(
    home: Path, *, ui: bool = False, more: dict[str, str] | None = None
) -> Iterator[Prefect]:
    """Have a server and `stylegallery serve` until the block ends.

    Args:
        home: Folder for its database and logs.
        ui: Serve the UI as well.
        more: Environment of both.
    """
    url = f"http://127.0.0.1:{(port := free_port())}"
    env = {
        **os.environ,
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "RAY_worker_niceness": "0",
        "OMP_NUM_THREADS": "1",
        **(more or {}),
    }
    server = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str, *command: str) -> subprocess.Popen[bytes]:
        with (home / f"{name}.log").open("wb") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", *command], cwd=_ROOT, env=env, stdout=log, stderr=log
                )
            )
        return processes[-1]

    found = Prefect(env, url, home / "serve.log")
    try:
        made = start("server", *server, *([] if ui else ["--no-ui"]))
        until(lambda: _answers(found, lambda c: c.api_healthcheck(), None), made)
        made = start("serve", "flows.cli", "serve")
        name = "evaluate-run/stylegallery"  # the last that it makes
        until(lambda: _answers(found, lambda c: c.read_deployment_by_name(name)), made)
        yield found
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=60)


def _answers(prefect: Prefect, what: Callable[[PrefectClient], Any], *wanted: Any) -> bool:
    try:
        found = prefect.ask(what)
    except Exception:
        return False
    return not wanted or found in wanted
