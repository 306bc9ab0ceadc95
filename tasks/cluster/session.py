"""Start or join Ray, compute how many actors fit, and shut Ray down only if it was started here."""

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import ray

from schemas.run import PoolSpec
from stylegallery.models.threads import usable_cores, warn_if_overloaded
from tasks.cluster import descendants
from tasks.cluster.signals import deferred
from tasks.errors import PoolError
from tasks.logs import FORMAT_VARIABLE
from tasks.storage import scratch
from tasks.storage.policy import OPERATOR_VARIABLES

logger = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 128 * 2**20
"""Small, because only ids and results pass through Ray."""
_FORWARDED = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "HF_HUB_OFFLINE",
    *OPERATOR_VARIABLES,
    FORMAT_VARIABLE,
)
"""Environment variables for actors on other machines. Credentials are not forwarded: each node
uses its own role."""


@dataclass(frozen=True)
class Layout:
    """Number of actors and their resources.

    Attributes:
        actors: Number of engines.
        cpus: CPUs that Ray reserves for each.
        gpus: GPUs that Ray reserves for each.
        env: Environment variables for actors on other machines.
        elastic: Change the number of actors as nodes join and leave the cluster.
    """

    actors: int
    cpus: float
    gpus: float
    env: dict[str, str] = field(default_factory=dict)
    elastic: bool = False

    @property
    def threads(self) -> int:
        """CPU threads for torch in each actor."""
        return max(1, int(self.cpus))


@contextmanager
def connected(pool: PoolSpec) -> Iterator[Layout]:
    """Connect to Ray during the block; start a local one if the address is `local`.

    If this process is connected already, that connection is used and left open.

    Raises:
        PoolError: the cluster cannot be reached, or the actors do not fit.
    """
    ours = not ray.is_initialized()
    local = pool.ray_address == "local"
    other_children = descendants.child_pids()
    try:
        with _keep_sigterm_handler():
            if ours:
                _start(pool.ray_address)
        with _sigterm_exits():
            yield plan_layout(pool, live_nodes(), fixed=local)
    finally:
        if ours:
            # Ray's agents outlive Ray by a minute if it shuts down while they start.
            with descendants.kill_leftovers(spare=other_children), _keep_sigterm_handler():
                ray.shutdown()


def plan_layout(pool: PoolSpec, nodes: list[dict[str, float]], *, fixed: bool) -> Layout:
    """Compute the number of actors and their resources.

    Args:
        pool: The requested pool.
        nodes: `CPU` and `GPU` of each live node.
        fixed: True if no node can join later, so actors that do not fit never will.

    Raises:
        PoolError: the actors do not fit; the message says what to request instead.
    """
    total_cpus = sum(node.get("CPU", 0.0) for node in nodes)
    total_gpus = sum(node.get("GPU", 0.0) for node in nodes)
    gpus = pool.gpus_per_actor
    if gpus and fixed and not any(node.get("GPU", 0.0) >= gpus for node in nodes):
        raise PoolError(
            f"{gpus:g} GPUs per actor are requested, but there are {total_gpus:g} here; "
            "set GPUs per actor to 0 to run on the CPU"
        )
    room = actor_capacity(pool, nodes)
    actors = pool.actors or (1 if fixed and not gpus else room) or 1
    if gpus and fixed and actors > room:
        logger.warning("only %d actors fit on %g GPUs; starting %d", room, total_gpus, room)
        actors = room
    largest = max((node.get("CPU", 0.0) for node in nodes), default=1.0)
    cpus = pool.cpus_per_actor or min(total_cpus / actors, largest) or 1.0
    cpus = float(int(cpus)) if cpus > 1 else cpus  # Ray reserves whole CPUs above one
    if fixed and actors * cpus > total_cpus + 1e-6:
        raise PoolError(
            f"{actors} actors with {cpus:g} CPUs each need {actors * cpus:g}, but there are "
            f"{total_cpus:g} here; request fewer, or set CPUs per actor to 0 to share them"
        )
    env = {} if fixed else {name: os.environ[name] for name in _FORWARDED if name in os.environ}
    return Layout(actors, cpus, gpus, env, elastic=not (fixed or pool.actors))


def actor_capacity(pool: PoolSpec, nodes: list[dict[str, float]]) -> int:
    """Return how many actors fit: as many as the GPUs allow, or one per node with a CPU.

    Counted node by node, because an actor cannot use fractions of two nodes.
    """
    if pool.gpus_per_actor:
        share = pool.gpus_per_actor
        return sum(int(node.get("GPU", 0.0) / share + 1e-6) for node in nodes)
    return sum(node.get("CPU", 0.0) > 0 for node in nodes)


def _start(address: str) -> None:
    """Start a local Ray, or join the one at an address.

    Raises:
        PoolError: it cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == "local":
            warn_if_overloaded()
            _ensure_token()
            folder = os.path.abspath(os.path.join(scratch.ray_folder(), "ray"))
            # Ray's default niceness of 15 would let any other process stop the engines.
            os.environ.setdefault("RAY_worker_niceness", "0")
            # Task events serve the dashboard only. After a signal to the process group has killed
            # Ray, the driver would wait five seconds to send the last ones.
            os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
            # The address is explicit: a bare init() would join the last cluster seen here.
            # Signals are deferred: Ray forks, and an exception raised in a fork hook would be
            # lost and leave the lock of `logging` held.
            with deferred():
                ray.init(
                    address="local",
                    include_dashboard=False,
                    num_cpus=usable_cores(),
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=folder,
                    **quiet,
                )
        else:
            ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise PoolError(f"Ray at {address!r} cannot be reached: {error}") from error


def _ensure_token() -> None:
    """Set a token for the local Ray if Ray cannot store one in the home folder."""
    if {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        return
    try:
        folder = Path.home() / ".ray"
        folder.mkdir(exist_ok=True)
        problem = scratch.problem(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        problem = str(error)
    if problem:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def live_nodes() -> list[dict[str, float]]:
    """Return the resources of each live node, such as `CPU` and `GPU`."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"]]


def wait(refs: list[Any], count: int, timeout: float | None = None) -> list[Any]:
    """Return the ready references, as soon as `count` of them are ready.

    Args:
        refs: Object references, or generators of them.
        count: How many to wait for.
        timeout: Seconds after which fewer may be returned; None waits forever.

    Raises:
        BaseException: an exception of a signal handler, unwrapped from Ray's SystemError.
    """
    try:
        ready, _ = ray.wait(refs, num_returns=count, timeout=timeout)
    except SystemError as error:
        raise (error.__cause__ or error) from None
    return list(ready)


@contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Restore the SIGTERM handler after the block: Prefect cancels through it.

    `ray.init` replaces it, and `ray.shutdown` resets it to the default, which kills the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _sigterm_exits() -> Iterator[None]:
    """Raise SystemExit on SIGTERM if it has no handler, so that results are still written."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, _frame: FrameType | None) -> None:
    logger.warning("stopped by signal %d", number)
    raise SystemExit(128 + number)
