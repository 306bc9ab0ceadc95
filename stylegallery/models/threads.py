"""Thread settings of an engine on shared cores; imports no torch."""

import logging
import os
from typing import Final

logger = logging.getLogger(__name__)

SPIN_COUNT: Final = "1000"
"""Spins of a waiting thread before it sleeps.

Run times relative to libgomp's default on two cores (`python -m tests.benchmarks.shared_cores`,
medians of three rounds), alone and beside another engine: 1.08 and 0.57 with 1000, 1.72 and 0.40
with OMP_WAIT_POLICY=PASSIVE, 0.96 and 2.11 with 10000.
"""
_OPERATOR: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def limit_spinning() -> None:
    """Limit how long waiting OpenMP threads spin on cores that other processes could use.

    torch's OpenMP threads meet at a barrier after each operation. With libgomp's default, waiting
    threads spin for milliseconds, which slows two engines on the same cores severely. libgomp
    reads the setting when it loads, so call this before torch is imported. Settings of the
    operator are kept.
    """
    if not any(name in os.environ for name in _OPERATOR):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def limit_threads() -> None:
    """Limit torch's threads to the usable cores; call this before torch is imported.

    OpenMP counts cores by affinity alone. If a container's CPU quota is smaller, all threads are
    throttled together.
    """
    if "OMP_NUM_THREADS" not in os.environ and usable_cores() < (os.cpu_count() or 1):
        os.environ["OMP_NUM_THREADS"] = str(usable_cores())


def usable_cores() -> int:
    """Return the number of cores that this process may use, by affinity and cgroup quota."""
    from joblib import cpu_count

    return int(cpu_count())


def overload_message() -> str:
    """Return a message if the load exceeds the usable cores, else an empty string."""
    cores, load = usable_cores(), os.getloadavg()[0]
    if load <= cores + 0.5:
        return ""
    return (
        f"the load is {load:.1f} on {cores} usable cores, so other processes slow the engines down"
    )


def warn_if_overloaded() -> None:
    """Log a warning if the load exceeds the usable cores."""
    if message := overload_message():
        logger.warning("%s; stop them, or set OMP_NUM_THREADS=1", message)
