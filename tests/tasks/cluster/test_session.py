"""The number of actors that fit and the errors if none do; the work queue; SIGTERM."""

import os
import signal

import pytest

from schemas.run import PoolSpec
from schemas.work import StyleSource, WorkItem
from tasks.cluster.session import _keep_sigterm_handler, _sigterm_exits, plan_layout
from tasks.errors import PoolError
from tasks.execution import queue as backlog
from tasks.execution.queue import WorkQueue
from tasks.messages import Assignment

BOX = [{"CPU": 8.0, "GPU": 2.0}]
LAPTOP = [{"CPU": 2.0}]


@pytest.mark.parametrize(
    ("pool", "nodes", "actors", "cpus", "threads"),
    [
        (PoolSpec(), LAPTOP, 1, 2.0, 2),
        (PoolSpec(actors=2), LAPTOP, 2, 1.0, 1),
        (PoolSpec(actors=4), LAPTOP, 4, 0.5, 1),
        (PoolSpec(actors=3), BOX, 3, 2.0, 2),
        (PoolSpec(cpus_per_actor=3, actors=2), BOX, 2, 3.0, 3),
        (PoolSpec(gpus_per_actor=1), BOX, 2, 4.0, 4),
        (PoolSpec(gpus_per_actor=0.5), BOX, 4, 2.0, 2),
        (PoolSpec(gpus_per_actor=1, actors=8), BOX, 2, 4.0, 4),
    ],
)
def test_actors_share_one_machine(
    pool: PoolSpec, nodes: list[dict[str, float]], actors: int, cpus: float, threads: int
) -> None:
    layout = plan_layout(pool, nodes, fixed=True)
    assert (layout.actors, layout.cpus, layout.threads) == (actors, cpus, threads)
    assert layout.env == {}


def test_a_cluster_gets_one_actor_per_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store:9000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    layout = plan_layout(PoolSpec(), LAPTOP * 3, fixed=False)
    assert (layout.actors, layout.cpus) == (3, 2.0)
    assert layout.env["AWS_ENDPOINT_URL"] == "http://store:9000"
    assert "secret" not in layout.env.values()
    waiting = plan_layout(PoolSpec(gpus_per_actor=1, actors=4), LAPTOP, fixed=False)
    assert (waiting.actors, waiting.gpus) == (4, 1)


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (PoolSpec(gpus_per_actor=1), "there are 0 here; set GPUs per actor to 0"),
        (PoolSpec(actors=2, cpus_per_actor=2), "need 4, but there are 2 here"),
    ],
)
def test_actors_that_never_fit_are_refused(pool: PoolSpec, words: str) -> None:
    with pytest.raises(PoolError, match=words):
        plan_layout(pool, LAPTOP, fixed=True)


def assignments(count: int) -> list[Assignment]:
    style = StyleSource(style_id="s", image_uri="s", image_version="v")
    return [
        Assignment(
            WorkItem(
                item_id=str(i),
                product_id=str(i),
                view="main",
                gallery_id="g",
                image_uri="i",
                image_version="v",
                seed=i,
                styles=[style],
                image_format="png",
            )
        )
        for i in range(count)
    ]


def test_chunks_shrink_towards_the_end() -> None:
    queue = WorkQueue(assignments(20), 20)
    sizes = []
    while chunk := queue.next_chunk(8, workers=2):
        sizes.append(len(chunk))
    assert sizes == [5, 4, 3, 2, 2, 1, 1, 1, 1]
    assert len(queue) == 0


def test_returned_items_come_first_and_retries_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(backlog.time, "monotonic", lambda: now[0])
    a, b, c, d = assignments(4)
    queue = WorkQueue([c, d], 2)
    queue.put_back([a, b])
    queue.retry(a)
    assert queue.next_chunk(1, 1) == [a]
    assert [queue.next_chunk(1, 1)[0] for _ in range(3)] == [b, c, d]
    assert queue.next_chunk(1, 1) == []
    assert len(queue) == 1
    now[0] = 1.0
    (again,) = queue.next_chunk(8, 1)
    assert (again.attempt, again.recover, again.item) == (2, True, a.item)


def test_the_sigterm_handler_is_restored(caplog: pytest.LogCaptureFixture) -> None:
    def mine(*_: object) -> None:
        raise KeyError

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with _keep_sigterm_handler():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # like ray.init
        with _sigterm_exits(), pytest.raises(KeyError):
            os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with _sigterm_exits(), pytest.raises(SystemExit) as caught:
            os.kill(os.getpid(), signal.SIGTERM)
        assert caught.value.code == 143
        assert "stopped by signal 15" in caplog.text
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
