"""The circuit breaker pauses or ends a run in which everything fails, and no other."""

import pytest

from schemas.result import ErrorInfo, ItemResult
from tasks.errors import PoolError
from tasks.execution import circuit_breaker
from tasks.execution.circuit_breaker import CircuitBreaker
from tests.tasks.rows import row


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(circuit_breaker.time, "monotonic", lambda: now[0])
    return now


def failed(*, transient: bool = False, stage: str = "write") -> ItemResult:
    error = ErrorInfo(stage=stage, type="E", message="the disk is full", transient=transient)
    return row("failed").model_copy(update={"error": error})


def test_consecutive_failures_end_a_run_with_the_last_message(clock: list[float]) -> None:
    breaker = CircuitBreaker()
    for _ in range(3):
        for _ in range(circuit_breaker._MAX_FAILURES - 1):
            breaker.record(failed())
        breaker.record(row("ok"))
    assert not breaker.is_open
    for _ in range(circuit_breaker._MAX_FAILURES - 1):
        breaker.record(failed())
    with pytest.raises(PoolError, match=r"last 50 items all failed.*stage write: the disk is full"):
        breaker.record(failed())


def test_a_gallery_that_could_not_be_learnt_ends_no_run(clock: list[float]) -> None:
    breaker = CircuitBreaker()
    for _ in range(2 * circuit_breaker._MAX_FAILURES):
        breaker.record(failed(stage="learn"))
    for _ in range(circuit_breaker._MAX_TRANSIENT):
        breaker.record(failed(stage="learn", transient=True))
    assert breaker.is_open  # its store is unavailable


def test_transient_faults_pause_a_run_and_end_it_after_the_patience(clock: list[float]) -> None:
    breaker, pauses, begin = CircuitBreaker(), [], clock[0]
    while clock[0] - begin <= circuit_breaker.PATIENCE:
        breaker.record(failed(transient=True))
        before = clock[0]
        while breaker.is_open:
            clock[0] += 1
        pauses.append(clock[0] - before)
    with pytest.raises(PoolError, match="no item succeeded for 10 min"):
        breaker.record(failed(transient=True))
    assert pauses[: circuit_breaker._MAX_TRANSIENT - 1] == [0] * (
        circuit_breaker._MAX_TRANSIENT - 1
    )
    rest = pauses[circuit_breaker._MAX_TRANSIENT - 1 :]
    assert rest == sorted(rest)
    assert (rest[0], rest[-1]) == (5, 60)


def test_a_finished_item_closes_the_breaker(clock: list[float]) -> None:
    breaker = CircuitBreaker()
    for _ in range(circuit_breaker._MAX_TRANSIENT):
        breaker.record(failed(transient=True))
    assert breaker.is_open
    clock[0] += 700
    breaker.record(row("rejected"))
    for _ in range(circuit_breaker._MAX_TRANSIENT - 1):
        breaker.record(failed(transient=True))
    assert not breaker.is_open


def test_consecutive_deaths_end_a_run(clock: list[float]) -> None:
    breaker = CircuitBreaker()
    for _ in range(circuit_breaker._MAX_DEATHS - 1):
        breaker.record_death()
        breaker.record(failed(transient=True, stage="actor"))
    assert not breaker.is_open
    breaker.record(row("ok"))
    for _ in range(circuit_breaker._MAX_DEATHS - 1):
        breaker.record_death()
    with pytest.raises(PoolError, match="probably runs out of memory"):
        breaker.record_death()
