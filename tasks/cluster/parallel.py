"""Work in pieces on all CPUs of a Ray cluster, where a lost piece is just done again."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from tasks.cluster.session import Layout, wait
from tasks.errors import StorageError

P = TypeVar("P")
R = TypeVar("R")

_RETRIES = 2


def map_unordered(
    do: Callable[[P], R], pieces: Sequence[P], layout: Layout, *, engines: bool = False
) -> Iterator[tuple[int, R | Exception]]:
    """Yield each piece's number and what `do` made of it, in the order in which they are ready.

    A piece is tried again when its process or node dies, or its store is away. What fails then is
    yielded as its exception.

    Args:
        do: A function of a module, as it runs in other processes.
        pieces: What to do, one call each.
        layout: Of the cluster, which must be connected.
        engines: Each call holds the CPUs and GPUs of an engine, instead of one CPU.
    """
    options: dict[str, Any] = {
        "num_cpus": layout.cpus if engines else 1,
        "num_gpus": layout.gpus if engines else 0,
        "max_retries": _RETRIES,
        "retry_exceptions": [StorageError],
    }
    if layout.env:
        options["runtime_env"] = {"env_vars": layout.env}
    remote = ray.remote(do).options(**options)
    waiting = {remote.remote(piece): number for number, piece in enumerate(pieces)}
    while waiting:
        for one in wait(list(waiting), 1):
            number = waiting.pop(one)
            try:
                yield number, ray.get(one)
            except RayTaskError as error:
                yield number, error.cause if isinstance(error.cause, Exception) else error
            except RayError as error:
                yield number, error
