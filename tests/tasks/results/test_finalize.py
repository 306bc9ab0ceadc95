"""Closing a run: gaps, the next manifest, the table of finished items."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.arrow import from_table, to_table
from schemas.result import ErrorInfo, ItemResult
from tasks import planning
from tasks.errors import IncompleteRunError
from tasks.execution.execute import assignments
from tasks.messages import ActorSetup
from tasks.planning import Plan
from tasks.records.finished_items import add_finished, read_finished
from tasks.records.index import key_hashes
from tasks.records.ledger import Ledger
from tasks.results import finalize
from tests.tasks.actors import LightActor
from tests.tasks.conftest import MakeSpec
from tests.tasks.execution.test_pool import ONE
from tests.tasks.places import at
from tests.tasks.rows import row


@pytest.fixture
def done(make_spec: MakeSpec) -> Callable[..., Plan]:
    """Return a function that executes runs without Ray, with the results of a light actor."""

    def do(products: int = 3, failing: tuple[str, ...] = (), skip: int = 0) -> Plan:
        plan = planning.make_plan(make_spec(products=products, pool=ONE))
        planning.write_plan(plan)
        setup = ActorSetup(
            plan.spec.engine, plan.spec.params, plan.files.output, plan.run_id, "", 1
        )
        actor, ledger = LightActor(setup), Ledger(plan.files)
        for assignment in list(assignments(plan, plan.completed))[skip:]:
            found, item = actor.do(assignment), assignment.item
            if item.product_id in failing:
                error = ErrorInfo(stage="write", type="OSError", message="the disk is full")
                found = found.model_copy(update={"status": "failed", "error": error, "matches": []})
            ledger.append(found)
        ledger.commit()
        return plan

    return do


def test_a_run_with_gaps_is_not_closed(done: Callable[..., Plan]) -> None:
    plan = done(skip=1)
    with pytest.raises(IncompleteRunError, match="1 of 6 items have no result yet"):
        finalize.finalize(plan.spec, plan.run_id, plan)
    assert not Path(plan.files.success.uri).exists()
    finalize.close_record(plan, "cancelled", message="the user stopped it")
    record = json.loads(Path(plan.files.record.uri).read_text())
    assert (record["state"], record["message"]) == ("cancelled", "the user stopped it")


def test_failed_rows_become_the_next_manifest(
    done: Callable[..., Plan], make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = planning.make_plan(make_spec(pool=ONE)).run_id
    monkeypatch.setattr(
        "tasks.planning.expand._PART_TEXT", 1
    )  # as if there were thousands of references
    plan = done(failing=("p1",))
    assert plan.run_id == name
    assert len(list(plan.items.parts())) == 6
    summary = finalize.finalize(plan.spec, plan.run_id, plan)
    assert (summary.ok, summary.failed) == (4, 2)
    (photo,) = pq.read_table(plan.files.retry.uri).to_pylist()
    assert (photo["product_id"], photo["galleries"], photo["seed"]) == (
        "p1",
        ["coffee", "rocket"],
        None,
    )
    spec = plan.spec.model_copy(update={"catalog": plan.files.retry.uri})
    retry = planning.make_plan(spec)
    wanted = {item.item_id for item in plan.items if item.product_id == "p1"}
    assert {item.item_id for item in retry.items} == wanted

    again = done()
    assert (again.run_id, again.counts.todo) == (plan.run_id, 2)
    assert not Path(plan.files.success.uri).exists()
    summary = finalize.finalize(again.spec, again.run_id, again)
    assert (summary.ok, summary.failed) == (6, 0)
    assert not Path(plan.files.retry.uri).exists()


def test_finished_items_accumulate_over_runs(done: Callable[..., Plan]) -> None:
    first = done(products=2)
    finalize.finalize(first.spec, first.run_id, first)
    second = done(products=3)
    assert second.counts.done == 4
    summary = finalize.finalize(second.spec, second.run_id, second)
    assert (summary.ok, summary.reused) == (6, 4)
    finished = read_finished(second.files.output)
    planned = np.concatenate([key_hashes(part) for _, part in second.items.parts()])
    assert sorted(finished.positions(planned)) == list(range(6))
    assert not any(finished.rows(finished.in_order())["reused"].to_pylist())
    (first_names, second_names) = (names(first), names(second))
    assert len(first_names) == len(second_names) == 2  # one part per run: none is written twice
    finalize.finalize(second.spec, second.run_id, second)
    assert names(second) == second_names


def names(plan: Plan) -> list[str]:
    found = (plan.files.output / "catalog").list_names()
    return [name for name in found if name != "LATEST.json"]


def test_many_parts_of_finished_items_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.records.finished_items._MOST_PARTS", 3)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        row(product=f"p{i % 5}", attempts=i + 1).model_copy(
            update={"finished_at": moment + timedelta(seconds=i)}
        )
        for i in range(8)
    ]
    for number, one in enumerate(rows):
        add_finished(at(tmp_path), [to_table([one], ItemResult)])
        found = read_finished(at(tmp_path))
        assert len(found) == min(number + 1, 5)
        assert len(list((tmp_path / "catalog").glob("items-*"))) <= 3
    kept = from_table(found.rows(found.in_order()), ItemResult)
    assert sorted((r.product_id, r.attempts) for r in kept) == [
        ("p0", 6), ("p1", 7), ("p2", 8), ("p3", 4), ("p4", 5)
    ]  # fmt: skip
    latest = json.loads((tmp_path / "catalog/LATEST.json").read_text())
    assert latest["rows"] == 5
    assert {Path(name).name for name in latest["tables"]} == {
        path.name for path in (tmp_path / "catalog").glob("items-*")
    }
