"""The number of actors, as nodes join and leave and near the end of a run."""

from collections import deque
from pathlib import Path
from typing import Any

import pytest

from schemas.engine import EngineSpec
from schemas.params import StyleParams
from schemas.run import PoolSpec
from tasks.cluster.session import Layout, actor_capacity, plan_layout
from tasks.execution import pool as pool_module
from tasks.execution.pool import Pool, Progress
from tasks.execution.queue import WorkQueue
from tasks.messages import ActorSetup
from tasks.records.ledger import Ledger
from tests.tasks.cluster.test_session import assignments
from tests.tasks.places import at, files_of

GPUS = [{"CPU": 8.0, "GPU": 1.0}]


class FakeWorker:
    """Replaces a worker, which needs Ray."""

    def __init__(self, *_: Any, is_ready: bool = False, busy: bool = False) -> None:
        self.is_ready, self.chunks, self.killed = is_ready, deque([object()] if busy else []), False

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    monkeypatch.setattr(pool_module, "Worker", FakeWorker)
    setup = ActorSetup(EngineSpec(), StyleParams(), at(tmp_path), "run-1", "", 1)
    layout = Layout(1, 1.0, 0.0, elastic=True)
    made = Pool(
        PoolSpec(), layout, setup, Ledger(files_of(tmp_path)), Progress(0, 9), lambda _: None
    )
    made._queue = WorkQueue(assignments(9), 9)
    return made


def test_capacity_is_counted_node_by_node() -> None:
    assert actor_capacity(PoolSpec(gpus_per_actor=0.75), GPUS * 4) == 4
    assert actor_capacity(PoolSpec(gpus_per_actor=0.5), GPUS * 4) == 8
    assert actor_capacity(PoolSpec(gpus_per_actor=2), GPUS * 4) == 0
    assert actor_capacity(PoolSpec(), [{"CPU": 0.0}, {"CPU": 4.0}, {"CPU": 2.0}]) == 2


def test_only_a_cluster_with_no_fixed_number_of_actors_is_elastic() -> None:
    assert plan_layout(PoolSpec(), GPUS, fixed=False).elastic
    assert not plan_layout(PoolSpec(actors=3), GPUS, fixed=False).elastic
    assert not plan_layout(PoolSpec(), GPUS, fixed=True).elastic


def test_actors_follow_the_nodes(pool: Pool) -> None:
    pool._resize(3)
    assert len(pool._workers) == 3
    pool._resize(50)
    assert len(pool._workers) == 9 + 3  # as many more as there are items
    ready, busy = FakeWorker(is_ready=True), FakeWorker(busy=True)
    gone = [FakeWorker(), FakeWorker()]
    pool._workers = [gone[0], ready, busy, gone[1]]  # type: ignore[list-item]
    pool._resize(1)
    assert pool._workers == [ready, busy]  # actors with an engine or with work stay
    assert all(worker.killed for worker in gone)
    pool._resize(0)
    assert len(pool._workers) == 2
    pool._workers = []
    pool._resize(0)
    assert len(pool._workers) == 1  # it waits for a node


def test_idle_actors_are_released(pool: Pool) -> None:
    idle = [FakeWorker(is_ready=True), FakeWorker(is_ready=True)]
    busy = FakeWorker(is_ready=True, busy=True)
    pool._workers = [*idle, busy]  # type: ignore[list-item]
    pool._release_idle()
    assert len(pool._workers) == 3  # items are left
    pool._queue = WorkQueue([], 0)
    pool._release_idle()
    assert pool._workers == [busy]
    busy.chunks.clear()
    pool._release_idle()
    assert pool._workers == [busy]  # one stays for items that may be requeued
