"""The command line `stylegallery`: which commands there are, and how errors leave it.

Commands are named here and imported when called, so `--help` starts fast and `stylize` needs
neither Prefect nor Ray.
"""

import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from types import FrameType
from typing import Final, NoReturn

from cyclopts import App, CycloptsError, UnusedCliTokensError

from flows.usage import EXIT_OK, EXIT_USAGE, exit_code, unused_words
from stylegallery.wording import one_line

_MOST_SAID: Final = 2000
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
    _set_defaults()
    # Prefect and Ray hand SIGTERM on to what was there before them; its default would leave
    # Prefect's temporary server behind.
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = app(argv, exit_on_error=False, print_error=False, result_action="return_value")
    except UnusedCliTokensError as error:
        _leave(unused_words(error.unused_tokens or [], argv or sys.argv[1:]), EXIT_USAGE)
    except CycloptsError as error:
        _leave(str(error), EXIT_USAGE)
    except KeyboardInterrupt:
        _leave("interrupted; the same command goes on from here", 128 + signal.SIGINT)
    except BrokenPipeError:  # the reader, such as `head`, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_OK)
    except Exception as error:
        known = exit_code(error)
        if known is None:
            raise
        _leave(str(error), known)
    sys.exit(code if isinstance(code, int) else EXIT_OK)


def _terminated(number: int, _frame: FrameType | None) -> None:
    _leave("stopped; the same command goes on from here", 128 + number)


def _leave(message: str, code: int) -> NoReturn:
    print(f"stylegallery: {one_line(message, _MOST_SAID)}", file=sys.stderr)
    sys.exit(code)


def _set_defaults() -> None:
    """Set what Prefect and Ray read when imported: nothing phones home."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Prefect gives its temporary server 20 s, which a busy laptop does not keep.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")


if __name__ == "__main__":
    main()
