"""The Prefect API that a command uses: the configured server, or a temporary one on this machine.

Prefect would start a temporary server itself, but in the command's process group: Ctrl-C in a
terminal ends that server first, and reporting the end of the run then fails. Our server ignores
signals, ends with this process, and reports in one sentence why it cannot start.

Import this before anything that imports prefect.
"""

import atexit
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from flows.runtime.errors import UsageError
from flows.runtime.prefect_logs import hide_prefect_logs
from schemas.text import one_line
from tasks.storage import scratch
from tasks.storage.redaction import redact

logger = logging.getLogger(__name__)

HEALTH_CHECK_SECONDS: Final = 5.0
_START_SECONDS: Final = 180.0
_SEND_SECONDS: Final = 3.0
_STOP_SECONDS: Final = 5.0
_ERROR_LINE: Final = re.compile(r"[\w.]*(Error|Exception): ")
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy")


def connect(*, verbose: bool) -> None:
    """Import Prefect and connect this process to an API that answers.

    Args:
        verbose: Show Prefect's own messages.

    Raises:
        UsageError: no API answers.
    """
    choose_home()
    # A server that Prefect starts itself would outlive this process if it is killed.
    os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
    # The run does not need the server, so it does not wait minutes for an answer.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")
    os.environ.setdefault("PREFECT_API_REQUEST_TIMEOUT", "15")
    hide_prefect_logs(verbose=verbose)
    import prefect.context

    drop_unusable_proxies()
    if configured_url():
        check_api()
        return
    server = _TemporaryServer()
    atexit.register(server.stop)
    os.environ["PREFECT_API_URL"] = server.url
    prefect.context.refresh_global_settings_context()
    server.wait()


def configured_url() -> str:
    """Return the API address from the environment or a Prefect profile; empty if there is none."""
    from prefect.settings import PREFECT_API_URL

    return redact(PREFECT_API_URL.value() or "")


def check_api() -> None:
    """Check that the configured API answers.

    Raises:
        UsageError: it does not.
    """
    if why := health_error():
        raise UsageError(
            f"the Prefect API at {configured_url()} cannot be used ({why}); "
            "start that server, correct PREFECT_API_URL (it ends in /api) and its "
            "PREFECT_API_AUTH_STRING or PREFECT_API_KEY, or unset them to run without a server"
        )


def health_error(seconds: float = HEALTH_CHECK_SECONDS) -> str:
    """Return why Prefect's API does not answer within `seconds`; empty if it does."""
    import httpx
    from prefect.client.orchestration import get_client

    with without_retries(), get_client({"timeout": seconds}, sync_client=True) as client:
        error = client.api_healthcheck()
    if error is None:
        return ""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code} {error.response.reason_phrase}"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return one_line(redact(text), 200)


@contextmanager
def without_retries() -> Iterator[None]:
    """Send each request of the block to Prefect's API only once."""
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield


def flush_to_server(seconds: float = _SEND_SECONDS) -> bool:
    """Send the logs and events that Prefect's threads still hold; return whether all were sent.

    With a lost server these threads retry for minutes and delay the end of the process.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    deadline, sent = time.monotonic() + seconds, True
    for service in (APILogWorker, EventsWorker):
        drained = service.drain_all(timeout=max(0.0, deadline - time.monotonic()))
        sent &= isinstance(drained, tuple) and not drained[1]  # a coroutine in an event loop only
    return sent


class _TemporaryServer:
    """A Prefect server process on a free port of the loopback address."""

    def __init__(self) -> None:
        """Start the process; it answers some seconds later."""
        from prefect.settings import get_current_settings

        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # output of the process
        script = Path(__file__).with_name("temporary_server.py")
        # -P keeps the folder of the script off sys.path.
        command = [sys.executable, "-P", str(script), str(listener.fileno())]
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        ephemeral = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
        with listener:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=self._output,
                env={**os.environ, **settings, **ephemeral},
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            UsageError: it ended, or was not ready in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        # The socket already listens: a request waits in its backlog until the server is ready.
        while why := health_error(max(1.0, min(20.0, deadline - time.monotonic()))):
            if self._process.poll() is None and time.monotonic() < deadline:
                continue
            raise UsageError(
                f"Prefect's temporary server does not start ({self._last_error() or why}); set "
                "PREFECT_HOME to an empty folder, or PREFECT_API_URL to a running server"
            )

    def stop(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _last_error(self) -> str:
        """Return the last error in the output of the server, or else its last line."""
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if _ERROR_LINE.match(line)]
        return one_line(redact(next(reversed(errors or lines), "")), 300)


def choose_home() -> None:
    """Set PREFECT_HOME to a temporary folder if Prefect's own folder is not writable."""
    home, why = home_problem()
    if not why:
        return
    if os.environ.get("PREFECT_HOME"):
        logger.warning("PREFECT_HOME cannot be used (%s); using a temporary folder", why)
    elif (profiles := home / "profiles.toml").is_file():
        os.environ.setdefault("PREFECT_PROFILES_PATH", str(profiles))
    os.environ["PREFECT_HOME"] = temporary = tempfile.mkdtemp(prefix="stylegallery-prefect-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)


def home_problem() -> tuple[Path, str]:
    """Return Prefect's folder, and why it is not writable; empty if it is."""
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect")
    try:
        home = home.expanduser()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home, scratch.problem(home)
    except OSError as error:
        return home, (error.strerror or str(error)).lower()
    except RuntimeError as error:  # this user has no home folder
        return home, str(error)


def proxy_variables() -> list[str]:
    """Return the names of the environment variables that set a proxy."""
    return [name for name, value in os.environ.items() if name.lower() in _PROXIES and value]


def drop_unusable_proxies() -> list[str]:
    """Unset SOCKS proxies if the package they need is missing; return their variables.

    Raises:
        UsageError: a proxy has an unknown scheme.
    """
    import httpx

    try:
        httpx.Client().close()
    except ImportError:
        socks = [name for name in proxy_variables() if os.environ[name].lower().startswith("socks")]
        for name in socks:
            logger.warning("%s is ignored: a SOCKS proxy needs the package socksio", name)
            del os.environ[name]
        return socks
    except ValueError as error:
        text, rule = one_line(redact(str(error)), 200), "write a proxy as http://host:port"
        raise UsageError(f"{', '.join(proxy_variables())}: {text}; {rule}") from error
    return []
