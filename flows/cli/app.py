"""The command line `stylegallery`: its commands, and how errors become exit codes.

Commands are listed by import path and imported when called, so `--help` starts fast and `stylize`
needs neither Prefect nor Ray.
"""

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Final, NoReturn

from cyclopts import App, CycloptsError, UnusedCliTokensError

from flows.runtime.environment import set_defaults
from flows.runtime.errors import EXIT_CRASH, EXIT_OK, EXIT_USAGE, describe_unused_words, exit_code
from flows.runtime.interrupts import SignalHandler, Stopped
from schemas.text import one_line
from tasks.storage.transient import is_disk_full

_MAX_MESSAGE: Final = 2000
_SIGNAL_EXIT: Final = 128
"""Added to a signal's number, this is the exit code of a process that the signal ended."""
_COMMANDS: Final = {
    "demo": (
        "flows.cli.commands.demo:demo",
        "Restyle bundled photos with the embedded model, without a network.",
    ),
    "manifest": (
        "flows.cli.commands.manifest:app",
        "Make a manifest from a folder of images, a CSV or a JSON file.",
    ),
    "plan": (
        "flows.cli.commands.batch:plan",
        "Check the manifests, count the items and estimate the work; changes nothing.",
    ),
    "run": (
        "flows.cli.commands.batch:run",
        "Restyle a catalog in its galleries. The same command resumes an interrupted run.",
    ),
    "stylize": ("flows.cli.commands.stylize:stylize", "Restyle one image, without Prefect or Ray."),
    "learn": (
        "flows.cli.commands.learn:learn",
        "Learn the style of references into a file, for `stylize --adapter`.",
    ),
    "status": ("flows.cli.commands.inspect:status", "Print the state and progress of a run."),
    "verify": (
        "flows.cli.commands.inspect:verify",
        "Check that plan, tables and assets of a run agree.",
    ),
    "evaluate": (
        "flows.cli.commands.evaluate:evaluate",
        "Measure the results of a run, and rebuild its report.",
    ),
    "explain": (
        "flows.cli.commands.inspect:explain",
        "Show which reference regions the results of a product took their style from.",
    ),
    "report": ("flows.cli.commands.inspect:report", "Rebuild the report of a run."),
    "benchmark": (
        "flows.cli.commands.benchmark:benchmark",
        "Compare methods on your own photos and styles.",
    ),
    "doctor": (
        "flows.cli.commands.doctor:doctor",
        "Check this machine, and print what is missing and how to fix it.",
    ),
    "serve": (
        "flows.cli.commands.serve:serve",
        "Serve the flows as deployments of the Prefect server at PREFECT_API_URL.",
    ),
    "schema": (
        "flows.cli.commands.schema:schema",
        "Print the columns of manifests and tables, or the settings of a run.",
    ),
}

app = App(
    name="stylegallery",
    help="Restyle product catalogs in the style of reference galleries, region by region.",
    help_epilogue="Exit codes: 0 all items ok, 3 some items rejected or failed, 2 wrong usage, "
    "1 crash.",
    version=lambda: version("stylegallery"),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
for _name, (_target, _help) in _COMMANDS.items():
    app.command(_target, name=_name, help=_help)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    set_defaults()
    signals = SignalHandler()
    signals.install()
    try:
        code = _run(argv)
    except (Exception, KeyboardInterrupt, Stopped):
        if signals.received is None:
            raise
        what = "interrupted" if signals.received == signal.SIGINT else "stopped"
        message = f"{what}; run the same command again to resume"
        code = _fail(message, _SIGNAL_EXIT + signals.received)
    finally:
        signals.finish()
    _exit(code)


def _run(argv: Sequence[str] | None) -> int:
    """Run one command and return its exit code; print a user error as one sentence."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (["plan"], ["run"]):
        from flows.cli.flags import replace_former_names

        words = replace_former_names(words)
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()  # here an error of a full disk or closed pipe is still reported
    except UnusedCliTokensError as error:
        return _fail(describe_unused_words(error.unused_tokens or [], words), EXIT_USAGE)
    except CycloptsError as error:
        return _fail(str(error), EXIT_USAGE)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        _discard_stdout()
        return EXIT_OK
    except Exception as error:
        known = exit_code(error)
        if known is None and isinstance(error, OSError) and is_disk_full(error):
            where = f" ({error.filename})" if error.filename else ""
            _flush_or_discard_stdout()
            text = f"{error.strerror}{where}; free some, or set TMPDIR to a folder on another disk"
            return _fail(text.lower(), EXIT_CRASH)
        if known is None:
            raise
        return _fail(str(error), known)
    return code if isinstance(code, int) else EXIT_OK


def _flush_or_discard_stdout() -> None:
    try:
        sys.stdout.flush()
    except OSError:  # stdout itself is on the full disk
        _discard_stdout()


def _discard_stdout() -> None:
    """Redirect stdout to /dev/null, so that the interpreter's last flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    with suppress(OSError):  # the terminal is closed
        print(f"stylegallery: {one_line(message, _MAX_MESSAGE)}", file=sys.stderr)
    return code


def _exit(code: int) -> NoReturn:
    """End the process, even if a library would block its normal exit.

    Prefect's threads may still retry to reach a lost server, and after a signal a library may be
    in a state that its own exit handlers cannot handle.
    """
    sent = True
    if "flows.runtime.prefect_api" in sys.modules:
        from flows.runtime.prefect_api import flush_to_server

        sent = flush_to_server()
    if sent and code < _SIGNAL_EXIT:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
