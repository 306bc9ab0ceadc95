"""Ctrl-C, SIGTERM and a closed terminal: one stops a command, more do not disturb that.

A signal raises an exception in the main thread, wherever that is. Some places let none through:
a finalizer, a hook of a fork, a serializer that makes an error of its own of it. So the exception
is raised again and again until it is seen on its way out.
"""

import _thread
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final, NoReturn

_PATIENCE: Final = 10.0
"""Seconds that a command has to write down what is done before another signal ends it at once."""
_AGAIN: Final = 0.5
_STILL: Final = b"stylegallery: stopping; what is done is being written down\n"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """The command was told to end by a signal other than Ctrl-C's."""


class Interrupts:
    """The handler of all signals that ask a command to end.

    Attributes:
        heard: The first of them, or None.
    """

    def __init__(self) -> None:
        self.heard: int | None = None
        self._since = 0.0
        self._repeated = self._over = False

    def install(self) -> None:
        """Take the signals, but for those that whoever started the command has switched off."""
        self._handle()
        self._report = sys.unraisablehook
        sys.unraisablehook = self._unraisable

    def finish(self) -> None:
        """Raise nothing any more: the command is over, and its process about to end."""
        self._over = True
        self._since = self._since or time.monotonic()

    def _handle(self) -> None:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._handle()  # who has replaced a handler would raise once more, or end the process
        repeated, self._repeated = self._repeated, False
        first = self.heard is None and not self._over
        if first:
            self.heard, self._since = number, time.monotonic()
            threading.Thread(target=self._repeat, daemon=True).start()
        if not self._over and (first or not _on_its_way_out()):
            _raise(self.heard or number)
        if repeated:
            return
        if time.monotonic() - self._since > _PATIENCE:
            os._exit(128 + number)
        os.write(2, _STILL)

    def _repeat(self) -> None:
        while not self._over:
            time.sleep(_AGAIN)
            self._repeated = True
            # Not SIGTERM: while Ray shuts down, the system ends the process on it.
            if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
                _thread.interrupt_main(signal.Signals(self.heard or signal.SIGTERM))
            else:
                os.kill(os.getpid(), signal.SIGINT)

    def _unraisable(self, found: "sys.UnraisableHookArgs") -> None:
        """Report exceptions of finalizers and the like, but not ours, which is raised again."""
        if not isinstance(found.exc_value, KeyboardInterrupt | Stopped):
            self._report(found)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Stopped(f"stopped by signal {number}")


def _on_its_way_out() -> bool:
    """Tell whether the main thread is in a handler of the exception, or of one made of it."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt | Stopped):
            return True
        error = error.__cause__ or error.__context__
    return False
