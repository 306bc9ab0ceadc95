"""How the threads of an engine share the cores with other processes; imports no torch."""

import logging
import os
from typing import Final

logger = logging.getLogger(__name__)

SPIN_COUNT: Final = "1000"
"""How often a waiting thread looks before it sleeps; chosen by measurement.

`python -m tests.benchmarks.shared_cores` on two cores, medians of three rounds, times libgomp's own
setting: 1000 takes 1.08 times as long alone and 0.57 times as long beside another engine,
OMP_WAIT_POLICY=PASSIVE 1.72 and 0.40, 10000 takes 0.96 and 2.11.
"""
_OPERATOR: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def limit_spinning() -> None:
    """Keep waiting threads from holding the cores that another process could use.

    torch computes in an OpenMP pool, whose threads meet at a barrier after each piece of work.
    libgomp lets those that wait spin for milliseconds, which ruins a machine on which two engines
    share the cores. libgomp reads the setting when it is loaded, so this comes before torch.
    Whatever the operator has set stays.
    """
    if not any(name in os.environ for name in _OPERATOR):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def limit_threads() -> None:
    """Have torch start as many threads as there are usable cores; before torch is loaded.

    OpenMP counts the cores by affinity alone. In a container whose quota is smaller, its threads
    are all stopped together for most of each period.
    """
    if "OMP_NUM_THREADS" not in os.environ and usable_cores() < (os.cpu_count() or 1):
        os.environ["OMP_NUM_THREADS"] = str(usable_cores())


def usable_cores() -> int:
    """Return how many cores this process may use: by its affinity and the quota of its cgroup."""
    from joblib import cpu_count

    return int(cpu_count())


def overload_message() -> str:
    """Return what is said of a machine on which more wants to run than it has cores, or nothing."""
    cores, load = usable_cores(), os.getloadavg()[0]
    if load <= cores + 0.5:
        return ""
    return (
        f"the load is {load:.1f} on {cores} usable cores, so engines are slowed by other processes"
    )


def warn_if_overloaded() -> None:
    """Log a warning when the machine is busy already."""
    if said := overload_message():
        logger.warning("%s; stop them, or set OMP_NUM_THREADS=1", said)
