"""Map a function over inputs in Ray tasks; lost tasks are retried."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from tasks.cluster.session import Layout, wait
from tasks.errors import StorageError

T = TypeVar("T")
R = TypeVar("R")

_RETRIES = 2


def map_unordered(
    function: Callable[[T], R], inputs: Sequence[T], layout: Layout, *, engines: bool = False
) -> Iterator[tuple[int, R | Exception]]:
    """Yield the index and output of each input, in the order of completion.

    A task is retried when its process or node dies, or after a storage error. If it still fails,
    its exception takes the place of its output.

    Args:
        function: A module-level function: it runs in other processes.
        inputs: One input per task.
        layout: Layout of the connected cluster.
        engines: Each task reserves the CPUs and GPUs of an engine instead of one CPU.
    """
    options: dict[str, Any] = {
        "num_cpus": layout.cpus if engines else 1,
        "num_gpus": layout.gpus if engines else 0,
        "max_retries": _RETRIES,
        "retry_exceptions": [StorageError],
    }
    if layout.env:
        options["runtime_env"] = {"env_vars": layout.env}
    remote = ray.remote(function).options(**options)
    waiting = {remote.remote(one): index for index, one in enumerate(inputs)}
    while waiting:
        for ref in wait(list(waiting), 1):
            index = waiting.pop(ref)
            try:
                yield index, ray.get(ref)
            except RayTaskError as error:
                yield index, error.cause if isinstance(error.cause, Exception) else error
            except RayError as error:
                yield index, error
