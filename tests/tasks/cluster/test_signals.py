"""Deferred signals."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tasks.cluster import signals
from tasks.cluster.signals import deferred


@pytest.fixture(autouse=True)
def _python_handles_ctrl_c() -> Iterator[None]:
    """Reset the handlers that earlier tests left."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt(times: int, done: list[str]) -> None:
    with deferred():
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
        done.append("written")
    done.append("too far")


def test_a_signal_is_delivered_after_the_block() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt(2, done)
    assert done == ["written"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_block_that_takes_too_long_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_MAX_SECONDS", -1.0)
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt(1, done)
    assert done == []


def test_other_threads_are_not_affected() -> None:
    seen = []

    def work() -> None:
        with deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
