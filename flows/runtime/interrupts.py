"""Signals that stop a command: Ctrl-C, SIGTERM and SIGHUP.

The first signal raises an exception in the main thread, wherever that is. Finalizers, fork hooks
and some serializers swallow it, so the exception is raised repeatedly until it propagates. Further
signals do not disturb the cleanup.
"""

import _thread
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final, NoReturn

_GRACE_SECONDS: Final = 10.0
"""Seconds for cleanup after the first signal; later, another signal ends the process at once."""
_REPEAT_SECONDS: Final = 0.5
_STOPPING_MESSAGE: Final = b"stylegallery: stopping; finished work is being saved\n"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal other than Ctrl-C stops the command."""


class SignalHandler:
    """Handles the signals that stop a command.

    Attributes:
        received: Number of the first signal, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._since = 0.0
        self._repeated = self._finished = False

    def install(self) -> None:
        """Handle the signals, except those that the parent process ignores (as nohup does)."""
        self._handle()
        self._report = sys.unraisablehook
        sys.unraisablehook = self._on_unraisable

    def finish(self) -> None:
        """Raise nothing from now on: the command is over."""
        self._finished = True
        self._since = self._since or time.monotonic()

    def _handle(self) -> None:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._handle()  # another library's handler would raise again, or end the process
        repeated, self._repeated = self._repeated, False
        first = self.received is None and not self._finished
        if first:
            self.received, self._since = number, time.monotonic()
            threading.Thread(target=self._raise_again, daemon=True).start()
        if not self._finished and (first or not _is_propagating()):
            _raise(self.received or number)
        if repeated:
            return
        if time.monotonic() - self._since > _GRACE_SECONDS:
            os._exit(128 + number)
        os.write(2, _STOPPING_MESSAGE)

    def _raise_again(self) -> None:
        while not self._finished:
            time.sleep(_REPEAT_SECONDS)
            self._repeated = True
            # Not SIGTERM: Ray restores the default handler, which ends the process, on shutdown.
            if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
                _thread.interrupt_main(signal.Signals(self.received or signal.SIGTERM))
            else:
                os.kill(os.getpid(), signal.SIGINT)

    def _on_unraisable(self, found: "sys.UnraisableHookArgs") -> None:
        """Report exceptions that Python cannot raise, except ours, which is raised again."""
        if not isinstance(found.exc_value, KeyboardInterrupt | Stopped):
            self._report(found)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Stopped(f"stopped by signal {number}")


def _is_propagating() -> bool:
    """Return whether the main thread handles our exception, or one raised from it."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt | Stopped):
            return True
        error = error.__cause__ or error.__context__
    return False
