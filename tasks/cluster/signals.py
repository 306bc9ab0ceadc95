"""Signals that wait: what has to be written at the end of a run is not cut short by another one."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_PATIENCE: Final = 10.0


@contextmanager
def deferred() -> Iterator[None]:
    """Deliver SIGINT and SIGTERM after the block, or at once when it takes too long.

    Python handles signals in the main thread; blocks of other threads are not concerned.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    since = time.monotonic()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = {number: handler for number, handler in handlers.items() if handler is not None}

    def hear(number: int, frame: FrameType | None) -> None:
        handler = ours[signal.Signals(number)]
        if time.monotonic() - since > _PATIENCE and callable(handler):
            handler(number, frame)
        heard.append(number)

    for number in ours:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])
