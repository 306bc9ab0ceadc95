"""A real Prefect server with `stylegallery serve`, and the API calls of its UI."""

import asyncio
import os
import shlex
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

from tests.documents import ROOT
from tests.s3_server import free_port

PATIENCE = 240.0


@dataclass(frozen=True)
class Prefect:
    """A server with served deployments.

    Attributes:
        env: Environment for its clients.
        url: Address of its UI.
        log: Log file of `stylegallery serve`.
    """

    env: dict[str, str]
    url: str
    log: Path

    def start(self, deployment: str, spec: dict[str, Any]) -> UUID:
        """Start a run of a deployment with all fields of its form."""

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
        """Wait for a flow run, and return its final state."""
        until(lambda: self.state(run).is_final())
        return self.state(run)

    def artifacts(self, run: UUID) -> dict[str, Any]:
        """Return the artifacts of a run by key."""
        ids = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        found = self.ask(lambda client: client.read_artifacts(artifact_filter=ids))
        return {str(one.key): one.data for one in found}

    def logs(self, run: UUID) -> str:
        """Return the log messages of a run."""
        ids = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
        return "\n".join(one.message for one in self.ask(lambda c: c.read_logs(ids, limit=200)))

    @contextmanager
    def running(self, command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command inside the block."""
        with log.open("wb") as out:
            process = subprocess.Popen(
                shlex.split(command), cwd=ROOT, env=self.env, stdout=out, stderr=out
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()  # it would outlive the tests
                raise

    def answers(self, what: Callable[[PrefectClient], Any], *wanted: Any) -> bool:
        """Return whether the API answers, with one of `wanted` if any are given."""
        try:
            found = self.ask(what)
        except Exception:
            return False
        return not wanted or found in wanted

    def ask(self, what: Callable[[PrefectClient], Any]) -> Any:
        """Return the answer of the API."""

        async def ask() -> Any:
            async with PrefectClient(self.env["PREFECT_API_URL"]) as client:
                return await what(client)

        return asyncio.run(ask())


def until(true: Callable[[], bool], *living: subprocess.Popen[bytes]) -> None:
    """Wait until `true` returns true; fail if a process of `living` ends before."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert all(process.poll() is None for process in living), "the process ended"
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.3)


@contextmanager
def server(
    home: Path, *, ui: bool = False, more: dict[str, str] | None = None
) -> Iterator[Prefect]:
    """Run a server inside the block.

    Args:
        home: Folder for its database and logs.
        ui: Serve the UI as well.
        more: Environment variables of the server and of the processes that use it.
    """
    url = f"http://127.0.0.1:{(port := free_port())}"
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_ENABLED": str(ui).lower(),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "RAY_worker_niceness": "0",
        "OMP_NUM_THREADS": "1",
        **(more or {}),
    }
    found = Prefect(env, url, home / "serve.log")
    with found.running("prefect server start", home / "server.log") as process:
        until(lambda: found.answers(lambda client: client.api_healthcheck(), None), process)
        yield found


@contextmanager
def serving(prefect: Prefect, command: str = "stylegallery serve") -> Iterator[None]:
    """Serve the flows inside the block."""
    with prefect.running(command, prefect.log) as process:
        name = "evaluate-run/stylegallery"  # the last one that is registered
        until(lambda: prefect.answers(lambda c: c.read_deployment_by_name(name)), process)
        yield
