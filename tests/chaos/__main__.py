"""Restyle items under faults of all kinds, and check that none is lost, duplicate or damaged.

    python -m tests.chaos --items 300
    python -m tests.chaos --items 3000 --faults 1000

Two actors on two Ray nodes restyle photos on a real S3 server behind a proxy: first without faults,
then with the faults that README.md in this folder lists. Needs Linux, no network and no GPU. Exit
code 0 means that all checks passed.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.chaos import table
from tests.chaos.closing import close_together
from tests.chaos.cluster import TwoNodes, two_nodes
from tests.chaos.driver import Driver
from tests.chaos.judge import judge
from tests.chaos.scene import CALM, STORMY, assets_done, holder, make_spec, write_inputs
from tests.chaos.storm import Plan, RunStuckError, Storm, Tally
from tests.faulty_proxy import KINDS, Faults, FaultyProxy, faulty_proxy
from tests.s3_server import S3Server, serve_s3


class _Stage:
    """The S3 server, proxy and cluster that the runs use."""

    def __init__(self, home: Path, server: S3Server, proxy: FaultyProxy, cluster: TwoNodes) -> None:
        self._home, self._server, self._proxy, self._cluster = home, server, proxy, cluster

    def run(self, output: str, plan: Plan) -> tuple[Tally, float]:
        """Do a run into an output; return its faults and its seconds."""
        spec = make_spec(self._server, self._home, output, self._cluster.address)
        driver = Driver(spec, self._home, output, lambda: holder(self._server, output))
        storm = Storm(
            plan, self._cluster, self._proxy, driver, lambda: assets_done(self._server, output)
        )
        begin = time.monotonic()
        try:
            tally = storm.rage()
        except RunStuckError as error:
            raise RunStuckError(f"{output}: {error}; {storm.tally}\n{driver.said()}") from None
        return tally, time.monotonic() - begin

    def close_together(self, plan: Plan, runs: int) -> list[str]:
        """Finish runs at the same time, with faults of the store; return the problems."""
        self._proxy.faults = replace(self._proxy.faults, rate=plan.rate)
        try:
            return close_together(self._server.uri("closing"), runs)
        finally:
            self._proxy.faults = replace(self._proxy.faults, rate=0.0)


def main(arguments: list[str] | None = None) -> int:
    """Do the runs without and with faults, print the table, return the exit code."""
    options = _parser().parse_args(arguments)
    plan = _plan(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # runs the cleanup
    faults = Faults(seed=plan.seed, hold=options.hold, kinds=(*KINDS, "flip"))
    with _stage(options.keep, plan, faults) as (stage, server):
        try:
            _, calm_seconds = stage.run(CALM, plan.calm())
            tally, seconds = stage.run(STORMY, plan)
            problems = stage.close_together(plan, options.closing)
        except RunStuckError as error:
            print(error, file=sys.stderr)
            return 1
        verdict = judge(server.uri(STORMY), server.file(STORMY), server.file(CALM), plan.items)
    problems += verdict.problems + table.shortcomings(plan, tally)
    print(table.render(plan, tally, verdict, calm_seconds, seconds))
    for problem in problems[:50]:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


@contextmanager
def _stage(keep: Path | None, plan: Plan, faults: Faults) -> Iterator[tuple[_Stage, S3Server]]:
    """Start server, proxy and cluster in temporary folders, or in `keep`."""
    # Only the server writes while the runs last. If it read thousands of files again for each
    # request, it would set the pace.
    with (
        _folder(keep) as home,
        _folder(None) as ray,
        serve_s3(home / "s3", directory_cache="1h") as server,
    ):
        write_inputs(server, plan.items)
        with faulty_proxy(server.endpoint_url, faults) as proxy:
            # Actors, drivers and `verify` inherit the address of the proxy, not that of the server.
            os.environ.update(
                server.env,
                AWS_ENDPOINT_URL=proxy.endpoint_url,
                HF_HUB_OFFLINE="1",
                RAY_USAGE_STATS_ENABLED="0",
                RAY_worker_niceness="0",
            )
            try:
                with two_nodes(ray) as cluster:
                    yield _Stage(home, server, proxy, cluster), server
            finally:
                shutil.copytree(ray / "session_latest" / "logs", home / "ray", dirs_exist_ok=True)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    folder = keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _plan(options: argparse.Namespace) -> Plan:
    items = options.items + options.items % 2  # two galleries
    return Plan(
        items=items,
        seed=options.seed,
        rate=options.rate,
        faults=options.faults,
        kill_every=options.kill_every,
        kill_gap=options.kill_gap,
        node_removals=options.node_removals or max(1, items // 600),
        driver_kills=options.driver_kills or 3 + items // 1000,
        freezes=options.freezes or 1 + items // 1000,
        full_disks=1 + items // 1000,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--items", type=int, default=300, help="items of the run")
    parser.add_argument("--faults", type=int, default=0, help="number of faults; 0: no limit")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults")
    parser.add_argument("--rate", type=float, default=0.05, help="fraction of requests that fail")
    parser.add_argument("--hold", type=float, default=3.0, help="seconds of a timeout")
    parser.add_argument(
        "--kill-every", type=float, default=5.0, help="mean seconds between kills of actors"
    )
    parser.add_argument("--kill-gap", type=int, default=8, help="items finished between kills")
    parser.add_argument("--node-removals", type=int, default=0, help="0: one, more for long runs")
    parser.add_argument("--driver-kills", type=int, default=0, help="0: three, more for long runs")
    parser.add_argument("--freezes", type=int, default=0, help="0: one, more for long runs")
    parser.add_argument("--closing", type=int, default=10, help="runs that finish together")
    parser.add_argument("--keep", type=Path, help="folder that keeps all files and logs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
