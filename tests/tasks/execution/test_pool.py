"""The pool with actors that die, hang, fail once or never start: each item gets one result."""

import os
import re
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.arrow import from_table
from schemas.result import ItemResult
from schemas.run import PoolSpec
from tasks import planning
from tasks.errors import PoolError
from tasks.execution import execute
from tasks.execution import pool as pool_module
from tasks.execution.actor import StyleActor
from tasks.execution.pool import Progress
from tasks.planning import Plan
from tasks.records.ledger import read_ledger
from tasks.results import finalize
from tasks.results.verify import verify
from tests.tasks.actors import BrokenActor, FrozenActor, LightActor, starts
from tests.tasks.conftest import MakeSpec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]

ONE = PoolSpec(cpus_per_actor=1, chunk_size=4)


@pytest.fixture(autouse=True)
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn overlap off, so that exactly one item is in progress at a time."""
    setup = execute.actor_setup
    monkeypatch.setattr(execute, "actor_setup", lambda *of: replace(setup(*of), overlap=False))


def planned(make_spec: MakeSpec, names: list[str], pool: PoolSpec = ONE) -> Plan:
    """Plan products with these names in one gallery; all have the same photo."""
    spec = make_spec(products=1, pool=pool, only=["rocket"])
    table = pa.table({"product_id": names, "image_uri": ["p0.png"] * len(names)})
    pq.write_table(table, spec.catalog)
    plan = planning.make_plan(spec)
    planning.write_plan(plan)
    return plan


def rows_of(plan: Plan) -> dict[str, ItemResult]:
    index = read_ledger(plan.files)
    rows = from_table(index.rows(index.in_order()), ItemResult)
    return {row.product_id: row for row in rows}


def ended(plan: Plan, kind: type[StyleActor] = LightActor, **how: Any) -> dict[str, ItemResult]:
    """Execute and close a plan, verify the run, and return its results by product."""
    heard: list[Progress] = []
    execute.execute(plan, how.get("on_progress", heard.append), actor=kind)
    found = rows_of(plan)
    finalize.finalize(plan.spec, plan.run_id, plan)
    (regions,) = {row.regions_uri for row in found.values()}
    assert regions is None
    proof = verify(plan.spec.output, plan.run_id)
    assert proof.ok, proof.problems
    assert proof.counts["items"] == len(plan.items) == len(found)
    return found


def test_a_killed_actor_costs_one_more_start(make_spec: MakeSpec) -> None:
    plan = planned(make_spec, [f"slow{i}" for i in range(12)])
    killed: list[int] = []

    def kill_once(now: Progress) -> None:
        if now.done == 3 and not killed:
            killed.append(starts(plan.spec.output)[-1][2])
            os.kill(killed[0], signal.SIGKILL)

    rows = ended(plan, on_progress=kill_once)
    assert {row.status for row in rows.values()} == {"ok"}
    begun = starts(plan.spec.output)
    assert 12 <= len(begun) <= 13
    assert len({pid for _, _, pid in begun}) == 2
    assert sorted(row.attempts for row in rows.values())[-2] == 1


def test_a_poison_item_fails_alone(make_spec: MakeSpec) -> None:
    plan = planned(make_spec, ["a", "b", "poison", "c", "d", "e", "f"])
    rows = ended(plan)
    assert Counter(row.status for row in rows.values()) == {"ok": 6, "failed": 1}
    bad = rows["poison"]
    assert bad.attempts == 3
    assert bad.error is not None
    assert bad.error.stage == "actor"
    assert "process died" in bad.error.message
    begun = Counter(name for name, _, _ in starts(plan.spec.output))
    assert begun.pop("rocket/poison") == 3
    assert set(begun.values()) == {1}
    retry = pq.read_table(plan.files.retry.uri).to_pylist()
    assert [row["product_id"] for row in retry] == ["poison"]
    assert retry[0]["galleries"] == ["rocket"]
    assert retry[0]["seed"] is None


@pytest.mark.parametrize("batch", [1, 4])
def test_of_a_group_in_progress_only_the_poison_item_fails(
    make_spec: MakeSpec, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With overlap, items are written while the actor restyles the next ones."""
    setup = execute.actor_setup
    monkeypatch.setattr(execute, "actor_setup", lambda *of: replace(setup(*of), overlap=True))
    pool = PoolSpec(cpus_per_actor=1, chunk_size=2, batch=batch)
    plan = planned(make_spec, ["a", "b", "poison", *"cdefghijklm"], pool)
    rows = ended(plan)
    assert Counter(row.status for row in rows.values()) == {"ok": 13, "failed": 1}
    assert rows["poison"].attempts == 3
    # in its group, being written, or next in the queue when the actor died
    near = "abcdefgh" if batch == 4 else "abc"
    assert {rows[name].attempts for name in near} <= {1, 2}
    assert {rows[name].attempts for name in "ijklm"} == {1}


def test_a_hanging_item_fails(make_spec: MakeSpec) -> None:
    pool = PoolSpec(cpus_per_actor=1, chunk_size=4, item_deadline=3, max_attempts=2)
    rows = ended(planned(make_spec, ["a", "hang", "b", "c"], pool))
    assert Counter(row.status for row in rows.values()) == {"ok": 3, "failed": 1}
    error = rows["hang"].error
    assert error is not None
    assert "longer than 3 s" in error.message


def test_a_transient_error_is_retried(make_spec: MakeSpec) -> None:
    pool = PoolSpec(actors=2, cpus_per_actor=1, chunk_size=1)
    rows = ended(planned(make_spec, ["a", "flaky", "b"], pool))
    assert rows["flaky"].status == "ok"
    assert rows["flaky"].attempts == 2


def test_engines_that_cannot_start_end_the_run(make_spec: MakeSpec) -> None:
    plan = planned(make_spec, ["a", "b"], PoolSpec(actors=2, cpus_per_actor=1))
    with pytest.raises(PoolError, match="no weights in the folder; fetch them first"):
        execute.execute(plan, actor=BrokenActor)
    assert rows_of(plan) == {}


@pytest.mark.parametrize("often", [1, 2])
def test_an_engine_that_freezes_while_it_loads_is_replaced(
    often: int, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After too many failed starts the run ends with an error."""
    monkeypatch.setattr(pool_module, "_MAX_FAILED_STARTS", 2)
    deadline = 8 if often == 1 else 3  # the next engine must load in time, on a busy machine too
    pool = PoolSpec(actors=1, cpus_per_actor=2, load_deadline=deadline)  # no room for two
    plan = planned(make_spec, ["a", "b"], pool)
    Path(plan.spec.output, "freeze").write_text(str(often))
    if often == 1:
        rows = ended(plan, FrozenActor)
        assert {row.status for row in rows.values()} == {"ok"}
    else:
        model = re.escape(str(plan.spec.engine.model))
        said = f"no engine could be started: process .* was still loading {model}.* after 3 s"
        with pytest.raises(PoolError, match=said):
            execute.execute(plan, actor=FrozenActor)
    pids = [int(pid) for pid in Path(plan.spec.output, "loads.log").read_text().split()]
    assert len(pids) == 2
    assert not alive(pids[0])


def test_an_interrupted_run_keeps_its_rows_and_resumes(make_spec: MakeSpec) -> None:
    plan = planned(make_spec, [f"slow{i}" for i in range(8)])

    def interrupt(now: Progress) -> None:
        if now.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute.execute(plan, interrupt, actor=LightActor)
    assert len(rows_of(plan)) == 3
    assert not Path(plan.files.success.uri).exists()
    pid = starts(plan.spec.output)[-1][2]
    again = planning.make_plan(plan.spec)
    assert (again.run_id, again.counts.done) == (plan.run_id, 3)
    heard: list[Progress] = []
    ended(plan, on_progress=heard.append)  # the plan from before the interruption works too
    assert heard[0].done == 3
    begun = Counter(name for name, _, _ in starts(plan.spec.output))
    assert len(begun) == 8
    assert begun.total() <= 9
    assert not alive(pid)


def test_an_exception_of_a_signal_handler_is_not_wrapped_by_ray(make_spec: MakeSpec) -> None:
    class Cancelled(BaseException):
        pass

    def cancel(*_: object) -> None:
        raise Cancelled

    plan = planned(make_spec, ["hang"])
    before = signal.signal(signal.SIGUSR1, cancel)
    timer = threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(Cancelled):
            execute.execute(plan, actor=LightActor)
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, before)


def alive(pid: int) -> bool:
    """Return whether a process is still alive after five seconds."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True
