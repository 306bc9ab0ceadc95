"""Ray: started here or joined, how many actors fit on it, and shut down only if it is ours."""

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
"""Only ids and rows pass through Ray."""
_PASSED_ON = (
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
"""Settings for actors elsewhere. Keys are not among them: nodes bring their own role."""


@dataclass(frozen=True)
class Layout:
    """How many actors, and what each of them holds.

    Attributes:
        actors: Engines at once.
        cpus: CPUs that Ray books for each.
        gpus: GPUs that Ray books for each.
        env: Environment variables that actors on another machine need.
        elastic: There shall be as many actors as the cluster holds, as nodes come and go.
    """

    actors: int
    cpus: float
    gpus: float
    env: dict[str, str] = field(default_factory=dict)
    elastic: bool = False

    @property
    def threads(self) -> int:
        """Threads for torch in each actor."""
        return max(1, int(self.cpus))


@contextmanager
def connected(pool: PoolSpec) -> Iterator[Layout]:
    """Have Ray for the length of the block.

    A Ray that runs in this process already is used and left running.

    Raises:
        PoolError: there is no cluster at the address, or the actors do not fit.
    """
    ours = not ray.is_initialized()
    local = pool.ray_address == "local"
    not_of_ray = descendants.children()
    try:
        with _sigterm_kept():
            if ours:
                _start(pool.ray_address)
        with _sigterm_raises():
            yield lay_out(pool, live_nodes(), fixed=local)
    finally:
        if ours:
            # Ray's agents outlive it by a minute when it ends while they start.
            with descendants.ended(but=not_of_ray), _sigterm_kept():
                ray.shutdown()


def lay_out(pool: PoolSpec, nodes: list[dict[str, float]], *, fixed: bool) -> Layout:
    """Decide how many actors run and what each holds.

    Args:
        pool: What is asked for.
        nodes: `CPU` and `GPU` of each live node.
        fixed: True when no node can join later, so that what does not fit never will.

    Raises:
        PoolError: it does not fit; says what to ask for instead.
    """
    cpus_there = sum(node.get("CPU", 0.0) for node in nodes)
    gpus_there = sum(node.get("GPU", 0.0) for node in nodes)
    gpus = pool.gpus_per_actor
    if gpus and fixed and not any(node.get("GPU", 0.0) >= gpus for node in nodes):
        raise PoolError(
            f"{gpus:g} GPUs per actor are asked for, but there are {gpus_there:g} here; "
            "set GPUs per actor to 0 to run on the CPU"
        )
    room = room_for(pool, nodes)
    actors = pool.actors or (1 if fixed and not gpus else room) or 1
    if gpus and fixed and actors > room:
        logger.warning("%g GPUs hold %d actors; running as many", gpus_there, room)
        actors = room
    biggest = max((node.get("CPU", 0.0) for node in nodes), default=1.0)
    cpus = pool.cpus_per_actor or min(cpus_there / actors, biggest) or 1.0
    cpus = float(int(cpus)) if cpus > 1 else cpus  # Ray books whole CPUs above one
    if fixed and actors * cpus > cpus_there + 1e-6:
        raise PoolError(
            f"{actors} actors with {cpus:g} CPUs each need {actors * cpus:g}, but there are "
            f"{cpus_there:g} here; ask for fewer, or set CPUs per actor to 0 to share them"
        )
    env = {} if fixed else {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return Layout(actors, cpus, gpus, env, elastic=not (fixed or pool.actors))


def room_for(pool: PoolSpec, nodes: list[dict[str, float]]) -> int:
    """Return how many actors fit: by GPUs, or one on each node with a CPU.

    Node by node, for what is left over on one is of no use on another.
    """
    if pool.gpus_per_actor:
        share = pool.gpus_per_actor
        return sum(int(node.get("GPU", 0.0) / share + 1e-6) for node in nodes)
    return sum(node.get("CPU", 0.0) > 0 for node in nodes)


def _start(address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == "local":
            warn_if_overloaded()
            _have_token()
            folder = os.path.abspath(os.path.join(scratch.ray_folder(), "ray"))
            # The engines are the work: at Ray's nice 15 any other process would stop them.
            os.environ.setdefault("RAY_worker_niceness", "0")
            # Events of tasks are for Ray's dashboard. When a signal to the process group has ended
            # Ray, the driver would wait five seconds to send the last ones.
            os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
            # Named outright: a bare init() would join whatever cluster was last seen here.
            # Ray forks: an exception in a hook of that would be lost, and the lock of logging held.
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


def _have_token() -> None:
    """Have a token for our own Ray where it cannot keep one in the home folder."""
    if {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        return
    try:
        kept = Path.home() / ".ray"
        kept.mkdir(exist_ok=True)
        why = scratch.problem(kept)
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home
        why = str(error)
    if why:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def live_nodes() -> list[dict[str, float]]:
    """Return `CPU`, `GPU` and the like of each node that lives."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"]]


def wait(refs: list[Any], count: int, timeout: float | None = None) -> list[Any]:
    """Return the references that are ready, as soon as `count` of them are.

    Args:
        refs: Object references or generators of such.
        count: How many to wait for.
        timeout: Seconds after which fewer are returned; None waits.

    Raises:
        BaseException: what the handler of a signal raised meanwhile, which Ray would wrap.
    """
    try:
        ready, _ = ray.wait(refs, num_returns=count, timeout=timeout)
    except SystemError as error:
        raise (error.__cause__ or error) from None
    return list(ready)


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Put the SIGTERM handler back: Prefect cancels through it.

    `ray.init` replaces it, and `ray.shutdown` has the system end the process on SIGTERM, behind
    Python's back.
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
def _sigterm_raises() -> Iterator[None]:
    """Where nobody handles SIGTERM, let it raise, so that what was done is written down."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, _frame: FrameType | None) -> None:
    logger.warning("stopped by signal %d", number)
    raise SystemExit(128 + number)
