"""Defer signals, so that the last writes of a run are not interrupted."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_MAX_SECONDS: Final = 10.0


@contextmanager
def deferred() -> Iterator[None]:
    """Deliver SIGINT and SIGTERM after the block, or at once if the block takes too long.

    In other threads it does nothing: Python handles signals in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    begin = time.monotonic()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = {number: handler for number, handler in handlers.items() if handler is not None}

    def receive(number: int, frame: FrameType | None) -> None:
        handler = ours[signal.Signals(number)]
        if time.monotonic() - begin > _MAX_SECONDS and callable(handler):
            handler(number, frame)
        received.append(number)

    for number in ours:
        signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
