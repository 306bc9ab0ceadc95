"""A Ray cluster of two nodes on this machine; one can be removed and added again."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

_MEMORY = 100 * 2**20
_PROC = Path("/proc")


class TwoNodes:
    """Each node holds one actor; drivers join at `address`, on the node that stays."""

    def __init__(self, folder: Path) -> None:
        head = {
            "num_cpus": 1,
            "include_dashboard": False,
            "object_store_memory": _MEMORY,
            "temp_dir": str(folder),
        }
        with _sigterm_kept():
            self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._second: Any = None
        self.add_second()

    @property
    def address(self) -> str:
        """Address that drivers join."""
        return str(self._cluster.address)

    @property
    def whole(self) -> bool:
        """True while the second node is there."""
        return self._second is not None

    def add_second(self) -> None:
        """Let a second node join."""
        with _sigterm_kept():
            self._second = self._cluster.add_node(num_cpus=1, object_store_memory=_MEMORY)

    def remove_second(self) -> None:
        """Kill all processes of the second node, as when its machine is lost."""
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = None

    def actors(self) -> dict[int, bool]:
        """Return the process ids of the actors, and whether each has loaded its engine."""
        raylets = {info.process.pid for node in self._nodes() for info in _raylets(node)}
        found = {}
        for folder in _PROC.glob("[0-9]*"):
            title = _title(folder)
            if title.startswith("ray::StyleActor") and _parent(folder) in raylets:
                found[int(folder.name)] = "__init__" not in title
        return found

    def end(self) -> None:
        """End both nodes."""
        self._cluster.shutdown()

    def _nodes(self) -> list[Any]:
        return [self._cluster.head_node, *self._cluster.worker_nodes]


@contextmanager
def two_nodes(folder: Path) -> Iterator[TwoNodes]:
    """Run a cluster inside the block; its processes inherit the environment of this one."""
    cluster = TwoNodes(folder)
    try:
        yield cluster
    finally:
        cluster.end()


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Restore the SIGTERM handler; Ray's own one drains nodes for half a minute."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def kill(pid: int) -> bool:
    """Kill a process, as the kernel does when memory runs out; False if it had ended already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _raylets(node: Any) -> list[Any]:
    return list(node.all_processes.get("raylet", []))


def _title(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


def _parent(folder: Path) -> int:
    try:
        # pid (name, which may hold anything) state parent ...
        return int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0
