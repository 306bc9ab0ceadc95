"""A Prefect server for one run; it lives exactly as long as the process that started it.

`flows.runtime.prefect_api` starts it as a script. The argument is the file descriptor of a
listening socket, and standard input is a pipe that the parent process holds open. The server
ignores signals: a terminal's Ctrl-C or a service manager's SIGTERM reaches every process at once,
and a run that is being stopped still reports its end.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Final

import uvicorn

_APP: Final = "prefect.server.api.server:create_app"
_SHUTDOWN_SECONDS: Final = 3.0


class _Server(uvicorn.Server):
    """A uvicorn server that installs no signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> None:
    """Serve Prefect's API until standard input closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    server = _Server(
        uvicorn.Config(
            _APP, factory=True, lifespan="on", log_level="error", timeout_graceful_shutdown=1
        )
    )

    def stop_with_parent() -> None:
        os.read(sys.stdin.fileno(), 1)
        server.should_exit = True
        threading.Event().wait(_SHUTDOWN_SECONDS)
        os._exit(0)  # an open connection or a slow start would delay the normal exit

    threading.Thread(target=stop_with_parent, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
