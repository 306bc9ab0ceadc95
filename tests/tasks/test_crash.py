"""A driver that dies before or after any of its writes: the next one ends with the same tree."""

import hashlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from schemas.run import RestyleSpec, RunRecord
from stylegallery import StyleGallery
from tasks import planning
from tasks.execution.execute import assignments
from tasks.items.context import ActorContext
from tasks.items.item import restyle_items
from tasks.messages import ActorSetup, Assignment
from tasks.planning import plan as plan_module
from tasks.planning.resume import refresh
from tasks.records import lock
from tasks.records.ledger import Ledger
from tasks.records.lock import RunLostError, hold_run
from tasks.report import build
from tasks.results import finalize
from tasks.results.verify import verify
from tasks.steps import RunContext, recorded_run
from tasks.storage.local import LocalDisk
from tests.tasks.actors import LightActor
from tests.tasks.conftest import MakeSpec, write_catalog

TIMES = ["finished_at", "timings", "node", "attempts", "reused"]
"""Columns of a row that may differ from attempt to attempt."""


class Killed(BaseException):
    """SIGKILL: whoever catches it gets no further byte out."""


class Disk:
    """Counts what is written and removed, and dies at one of these."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count, self.fatal, self.before, self.dead = 0, 0, True, False
        for name in ("write", "delete"):
            patch.setattr(LocalDisk, name, self._counted(getattr(LocalDisk, name)))
        self._lives = itertools.count(1)
        self._life = 0
        patch.setattr(lock, "_process_start", lambda _pid: str(self._life))
        patch.setattr(lock, "_RACE_SECONDS", 0.0)
        patch.setattr(lock, "BEAT_SECONDS", 3600.0)

    def live(self, fatal: int = 0, *, before: bool = True) -> None:
        """Begin a process that dies at its `fatal`-th change, if that is not 0."""
        self.count, self.fatal, self.before, self.dead = 0, fatal, before, False
        self._life = next(self._lives)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            fatal = self.count == self.fatal
            self.dead = self.dead or (fatal and self.before)
            if self.dead:
                raise Killed
            try:
                return real(*args, **kwargs)
            finally:
                if fatal:
                    self.dead = True
                    raise Killed

        return change


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[StyleGallery]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model only waits for others
    yield StyleGallery.load(str(tiny_model))
    torch.set_num_threads(threads)


Doer = Callable[[Assignment], Any]


def drive(spec: RestyleSpec, doer: Callable[[ActorSetup], Doer]) -> planning.Plan:
    """What flow and pool do, without Ray: an item after the other, its row at once."""
    plan = planning.make_plan(spec)
    if plan.summary:
        return plan
    with hold_run(plan.files):
        planning.write_plan(plan)
        setup = ActorSetup(spec.engine, spec.params, plan.files.output, plan.run_id, "", 1)
        do, ledger = doer(setup), Ledger(plan.files)
        for assignment in assignments(plan, plan.completed):
            ledger.append(do(assignment))
            ledger.commit()
        summary = finalize.write_results(plan)
        build.build_report(plan.spec.output, plan.run_id)
        finalize.finalize(spec, plan.run_id, plan, summary)
    return plan


def tree(plan: planning.Plan) -> dict[str, Any]:
    """All that a run leaves, without times and without the ledger, which keeps every attempt."""
    root, found = Path(plan.spec.output), {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        # A closed run's lock may stay behind: its holder is dead, so it holds nothing.
        others = (".log", "run.json", "lock.json", "_SUCCESS", "index.html")
        if "/ledger/" in name or name.endswith(others):
            continue
        if "/results/" in name or name.startswith("catalog/items"):
            rows = pq.read_table(path).drop_columns(TIMES).to_pylist()
            found[name.rsplit("/", 1)[0]] = [*found.get(name.rsplit("/", 1)[0], []), *rows]
        elif name != "catalog/LATEST.json":
            found[name] = path.read_bytes()
    return found


def light(setup: ActorSetup) -> Doer:
    return LightActor(setup).do


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["light", "real"])
def test_a_death_at_any_write_changes_nothing(
    kind: str,
    make_spec: MakeSpec,
    tmp_path: Path,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    # The model stays as it is: hashing it for each of the runs is most of what they would do.
    monkeypatch.setattr(
        plan_module, "engine_fingerprint", lru_cache(plan_module.engine_fingerprint)
    )
    changes: dict[str, Any] = {"gallery_ids": ["rocket"]} if kind == "real" else {}
    doer = light
    if kind == "real":
        engine = request.getfixturevalue("engine")

        def doer(setup: ActorSetup) -> Doer:
            context = ActorContext(engine, setup.output, setup.params)
            signed = {"run_id": setup.run_id}
            return lambda a: restyle_items(context, [a])[0].finish().model_copy(update=signed)

    def spec_of(name: str) -> RestyleSpec:
        return make_spec(products=1, output=str(tmp_path / name), **changes)

    disk.live()
    whole = drive(spec_of("whole"), doer)
    total, wanted = disk.count, tree(whole)
    assert total > 12
    deaths = list(itertools.product(range(1, total + 1), (True, False)))
    if kind == "real":  # an engine takes its time
        deaths = [(fatal, bool(fatal % 3)) for fatal, _ in deaths[::4]]
    for fatal, before in deaths:
        spec = spec_of(f"{fatal}-{before}")
        disk.live(fatal, before=before)
        with pytest.raises(Killed):
            drive(spec, doer)
        disk.live()
        plan = drive(spec, doer)
        assert tree(plan) == wanted, f"killed at change {fatal}"
        proof = verify(plan.spec.output, plan.run_id)
        assert proof.ok, proof.problems
        assert not list(Path(plan.spec.output).rglob("*.tmp"))


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_driver_that_was_frozen_leaves_a_run_that_its_successor_ended(
    interrupted: bool, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m tests.chaos` freezes real drivers."""
    spec = make_spec(products=1, only=["rocket"])
    job = RunContext(planning.make_plan(spec))
    plan = job.plan

    def take_over() -> None:
        plan.files.lock.delete()  # as the successor does with that of a dead holder
        drive(spec, light)
        if interrupted:
            raise KeyboardInterrupt
        monkeypatch.setattr(lock, "BEAT_SECONDS", 0.0)  # no sign of life came in time
        job.check()

    with pytest.raises(KeyboardInterrupt if interrupted else RunLostError), recorded_run(job):
        take_over()
    record = RunRecord.model_validate_json(plan.files.record.read_bytes())
    assert (record.run_id, record.state) == (plan.run_id, "finished")
    assert not plan.files.lock.exists()


def test_a_closed_run_is_left_alone(make_spec: MakeSpec, disk: Disk) -> None:
    spec = make_spec(products=2)
    drive(spec, light)
    disk.live()
    drive(spec, light)
    assert disk.count == 0


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(days=365)])
def test_lost_pictures_are_made_anew_when_asked_for(
    skew: timedelta, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of a driver and actors whose clocks were ahead; here with other bytes."""

    def ahead(setup: ActorSetup) -> Doer:
        do = light(setup)

        def early(assignment: Assignment) -> Any:
            row = do(assignment)
            return row.model_copy(update={"finished_at": row.finished_at + skew})

        return early

    spec = make_spec(products=2)
    write_catalog(tmp_path / "in", 2, product_id=[".p", "..q"])
    with monkeypatch.context() as clock:
        now = time.time_ns() + int(skew.total_seconds() * 1e9)
        clock.setattr(time, "time_ns", lambda: now)
        plan = drive(spec, ahead)
    lost = next(iter(plan.items))
    Path(spec.output, lost.asset_key).unlink()
    assert planning.make_plan(spec).counts.todo == 0
    spec = spec.model_copy(update={"check_assets": True})
    made = []

    def anew(setup: ActorSetup) -> Doer:
        def do(assignment: Assignment) -> Any:
            made.append(assignment.item.item_id)
            row, data = light(setup)(assignment), b"rounded otherwise"
            (setup.output / row.asset_uri).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            return row.model_copy(update={"asset_sha256": digest, "asset_bytes": len(data)})

        return do

    for _ in range(2):
        again = planning.make_plan(spec)
        assert (again.run_id, again.counts.todo) == (plan.run_id, 1 - len(made))
        assert (~refresh(again.completed, again.items).done).sum() == again.counts.todo
        drive(spec, anew)
        assert made == [lost.item_id]
        assert verify(spec.output, plan.run_id).ok


def test_a_changed_reference_costs_its_own_gallery_alone(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(products=3)
    first = drive(spec, light)
    (tmp_path / "in" / "s2.png").write_bytes((tmp_path / "in" / "s1.png").read_bytes())
    made: Counter[str] = Counter()
    drive(spec, lambda setup: lambda a: (made.update([a.item.gallery_id]), light(setup)(a))[1])
    assert made == {"rocket": 3}
    assert verify(spec.output, first.run_id).ok  # the earlier run stands as it was
