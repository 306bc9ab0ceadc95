"""Ctrl-C, SIGTERM and a closed terminal: one stops a command, more do not disturb that."""

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final, NoReturn

_PATIENCE: Final = 10.0
"""Seconds that a command has to write down what is done before another signal ends it at once."""
_AGAIN: Final = 0.1
_STILL: Final = b"stylegallery: stopping; what is done is being written down\n"


class Stopped(BaseException):
    """The command was told to end by a signal other than Ctrl-C's.

    Attributes:
        signal: Which one.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.signal = number


class Interrupts:
    """The handler of all signals that ask a command to end.

    Attributes:
        heard: The first of them, or None.
    """

    def __init__(self) -> None:
        self.heard: int | None = None
        self._since = 0.0
        self._swallowed = False

    def install(self) -> None:
        """Take the signals, but for those that whoever started the command has switched off."""
        self._handle()
        self._report = sys.unraisablehook
        sys.unraisablehook = self._unraisable

    def _handle(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self.heard is None or self._swallowed:
            self.heard, self._since, self._swallowed = number, time.monotonic(), False
            self._handle()  # Prefect's own handler of SIGTERM would raise once more
            self._raise(number)
        if time.monotonic() - self._since > _PATIENCE:
            os._exit(128 + number)
        os.write(2, _STILL)

    def _raise(self, number: int) -> NoReturn:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Stopped(number)

    def _unraisable(self, found: "sys.UnraisableHookArgs") -> None:
        """Try again when the exception met code that lets none through, such as a finalizer."""
        error = found.exc_value
        if not isinstance(error, KeyboardInterrupt | Stopped):
            self._report(found)
            return
        self._swallowed = True
        number = error.signal if isinstance(error, Stopped) else signal.SIGINT
        threading.Timer(_AGAIN, os.kill, (os.getpid(), number)).start()
