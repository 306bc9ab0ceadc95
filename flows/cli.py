"""The command line `stylegallery`: which commands there are, and how errors leave it.

Commands are named here and imported when called, so `--help` starts fast and `stylize` needs
neither Prefect nor Ray.
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

from flows.environment import set_defaults
from flows.interrupts import Interrupts, Stopped
from flows.usage import EXIT_CRASH, EXIT_OK, EXIT_USAGE, exit_code, unused_words
from stylegallery.wording import one_line
from tasks.faults import is_disk_full

_MOST_SAID: Final = 2000
_SIGNALLED: Final = 128
"""Added to a signal's number, the exit code of a process that it ended."""
_COMMANDS: Final = {
    "demo": ("flows.commands.demo:demo", "Restyle bundled photos: the whole job in one command."),
    "manifest": (
        "flows.commands.manifest:app",
        "Turn a folder, CSV or JSONL into a manifest.",
    ),
    "plan": ("flows.commands.batch:plan", "Say what a run would do; changes nothing."),
    "run": ("flows.commands.batch:run", "Restyle a catalog in its galleries."),
    "stylize": ("flows.commands.stylize:stylize", "Restyle one image; no Prefect, no Ray."),
    "status": ("flows.commands.inspect:status", "Say how far a run is."),
    "verify": ("flows.commands.inspect:verify", "Prove that plan, rows and assets agree."),
    "evaluate": ("flows.commands.evaluate:evaluate", "Measure a run's results."),
    "explain": ("flows.commands.inspect:explain", "Show what an item was made of."),
    "report": ("flows.commands.inspect:report", "Build a run's report again."),
    "benchmark": ("flows.commands.benchmark:benchmark", "Compare methods on your own photos."),
    "doctor": ("flows.commands.doctor:doctor", "Check this machine, and say what is missing."),
    "serve": ("flows.commands.serve:serve", "Offer the flows to a Prefect server."),
    "schema": (
        "flows.commands.schema:schema",
        "Print the columns of manifests and tables, or all parameters.",
    ),
}

app = App(
    name="stylegallery",
    help="Restyle product catalogs in the style of reference galleries, region by region.",
    help_epilogue="Exit codes: 0 all ok, 3 some items rejected or failed, 2 usage, 1 crash.",
    version=lambda: version("stylegallery"),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
for _name, (_target, _help) in _COMMANDS.items():
    app.command(_target, name=_name, help=_help)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    set_defaults()
    interrupts = Interrupts()
    interrupts.install()
    try:
        code = _run(argv)
    except (Exception, KeyboardInterrupt, Stopped):
        if interrupts.heard is None:
            raise
        what = "interrupted" if interrupts.heard == signal.SIGINT else "stopped"
        code = _fail(f"{what}; the same command goes on from here", _SIGNALLED + interrupts.heard)
    finally:
        interrupts.finish()
    _leave(code)


def _run(argv: Sequence[str] | None) -> int:
    """Run one command, say what is wrong with it in a sentence, and return its exit code."""
    try:
        code = app(argv, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()  # a pipe or disk that takes no more is told of here
    except UnusedCliTokensError as error:
        return _fail(unused_words(error.unused_tokens or [], argv or sys.argv[1:]), EXIT_USAGE)
    except CycloptsError as error:
        return _fail(str(error), EXIT_USAGE)
    except BrokenPipeError:  # the reader, such as `head`, had enough
        _drop_output()
        return EXIT_OK
    except Exception as error:
        known = exit_code(error)
        if known is None and isinstance(error, OSError) and is_disk_full(error):
            where = f" ({error.filename})" if error.filename else ""
            _flush_or_drop_output()
            text = f"{error.strerror}{where}; free some, or set TMPDIR to a folder on another disk"
            return _fail(text.lower(), EXIT_CRASH)
        if known is None:
            raise
        return _fail(str(error), known)
    return code if isinstance(code, int) else EXIT_OK


def _flush_or_drop_output() -> None:
    try:
        sys.stdout.flush()
    except OSError:  # standard output is what is full
        _drop_output()


def _drop_output() -> None:
    """Have the interpreter's last flush succeed, whose failure would change the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    with suppress(OSError):  # the terminal is gone
        print(f"stylegallery: {one_line(message, _MOST_SAID)}", file=sys.stderr)
    return code


def _leave(code: int) -> NoReturn:
    """End the process, without what keeps it from ending.

    Prefect's threads may have nobody to talk to any more, and a signal may have met a library
    inside of what its own way out does not expect.
    """
    sent = True
    if "flows.prefect_api" in sys.modules:
        from flows.prefect_api import hang_up

        sent = hang_up()
    if sent and code < _SIGNALLED:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
