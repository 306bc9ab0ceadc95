"""A run in which everything fails pauses or stops; one with some bad items does neither."""

import pytest

from schemas.result import ErrorInfo, ItemResult
from tasks.errors import PoolError
from tasks.execution import circuit_breaker
from tasks.execution.circuit_breaker import CircuitBreaker
from tests.tasks.results.test_finalize import row


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(circuit_breaker.time, "monotonic", lambda: now[0])
    return now


def failed(*, transient: bool = False, stage: str = "write") -> ItemResult:
    error = ErrorInfo(stage=stage, type="E", message="the disk is full", transient=transient)
    return row("failed").model_copy(update={"error": error})


def test_only_failures_stop_a_run_with_the_last_ones_words(clock: list[float]) -> None:
    watch = CircuitBreaker()
    for _ in range(3):
        for _ in range(circuit_breaker._FAILURES - 1):
            watch.row(failed())
        watch.row(row("ok"))
    assert not watch.holds
    for _ in range(circuit_breaker._FAILURES - 1):
        watch.row(failed())
    with pytest.raises(PoolError, match=r"last 50 items all failed.*stage write: the disk is full"):
        watch.row(failed())


def test_faults_that_pass_are_waited_out_and_in_the_end_not(clock: list[float]) -> None:
    watch, pauses, begin = CircuitBreaker(), [], clock[0]
    while clock[0] - begin <= circuit_breaker.PATIENCE:
        watch.row(failed(transient=True))
        before = clock[0]
        while watch.holds:
            clock[0] += 1
        pauses.append(clock[0] - before)
    with pytest.raises(PoolError, match="nothing has come through for 10 min"):
        watch.row(failed(transient=True))
    assert pauses[: circuit_breaker._PASSING - 1] == [0] * (circuit_breaker._PASSING - 1)
    rest = pauses[circuit_breaker._PASSING - 1 :]
    assert rest == sorted(rest)
    assert (rest[0], rest[-1]) == (5, 60)


def test_what_comes_through_ends_the_waiting(clock: list[float]) -> None:
    watch = CircuitBreaker()
    for _ in range(circuit_breaker._PASSING):
        watch.row(failed(transient=True))
    assert watch.holds
    clock[0] += 700
    watch.row(row("rejected"))
    for _ in range(circuit_breaker._PASSING - 1):
        watch.row(failed(transient=True))
    assert not watch.holds


def test_deaths_alone_stop_a_run(clock: list[float]) -> None:
    watch = CircuitBreaker()
    for _ in range(circuit_breaker._DEATHS - 1):
        watch.death()
        watch.row(failed(transient=True, stage="actor"))
    assert not watch.holds
    watch.row(row("ok"))
    for _ in range(circuit_breaker._DEATHS - 1):
        watch.death()
    with pytest.raises(PoolError, match="probably lacks memory"):
        watch.death()
