"""Ctrl-C, SIGTERM and a closed terminal: one stops a command, more do not disturb that."""

import os
import signal
import time
from types import FrameType
from typing import Final, NoReturn

_PATIENCE: Final = 10.0
"""Seconds that a command has to write down what is done before another signal ends it at once."""
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
    """The handler of all signals that ask a command to end."""

    def __init__(self) -> None:
        self._since: float | None = None

    def install(self) -> None:
        """Take the signals, but for those that whoever started the command has switched off."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._since is None:
            self._since = time.monotonic()
            self.install()  # Prefect's own handler of SIGTERM would raise once more
            self._raise(number)
        if time.monotonic() - self._since > _PATIENCE:
            os._exit(128 + number)
        os.write(2, _STILL)

    def _raise(self, number: int) -> NoReturn:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Stopped(number)
