"""Log lines with item ids, and metrics at Ray's Prometheus endpoint."""

import logging
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter as Counts
from pathlib import Path

import pytest

from schemas.result import ErrorInfo, ItemResult
from tasks.execution import metrics
from tasks.execution.metrics import CacheMetrics, RunMetrics
from tests.s3_server import free_port


def row(status: str, error: str = "") -> ItemResult:
    info = ErrorInfo(stage="decode", type="BadImage", message=error) if error else None
    return ItemResult.model_validate(
        {"item_id": "ab" * 32, "product_id": "cup", "view": "main", "gallery_id": "ink",
         "status": status, "error": info, "timings": {"stylize": 2.0}}
    )  # fmt: skip


@pytest.mark.usefixtures("ray_here")
def test_failed_items_are_logged_up_to_a_limit(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_MAX_LINES", 3)
    run_metrics = RunMetrics()
    with caplog.at_level(logging.WARNING):
        run_metrics.record(row("ok"), retried=False)
        run_metrics.record(row("failed", "the store is away"), retried=True)
        for _ in range(9):
            run_metrics.record(row("rejected", "cup.jpg is cut short"), retried=False)
    lines = [record.getMessage() for record in caplog.records]
    item = "cup/main in ink (item abababababab)"
    assert lines[0] == f"{item}: will be retried, failed in decode: the store is away"
    assert lines[1:3] == [f"{item}: rejected in decode: cup.jpg is cut short"] * 2
    assert len(lines) == 4
    assert "more items" in lines[3]


@pytest.mark.slow
def test_metrics_are_at_rays_endpoint() -> None:
    """Runs in a process of its own, because the port is chosen when Ray starts."""
    home = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, __file__, str(free_port())],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(home)},
    )
    assert done.returncode == 0, done.stderr[-2000:]

    def lines(name: str) -> list[str]:
        start = f"ray_stylegallery_{name}{{"
        return [line for line in done.stdout.splitlines() if line.startswith(start)]

    ended = [line for line in lines("items_total") if 'status="rejected"' in line]
    assert len(ended) == 1
    assert 'gallery="ink"' in ended[0]
    assert ended[0].endswith(" 2.0")
    assert any('stage="stylize"' in line for line in lines("stage_seconds_sum"))
    images = {
        line.split('found="')[1].split('"')[0]: float(line.split()[-1])
        for line in lines("images_total")
    }
    assert images == {"memory": 5.0, "computed": 2.0}
    for name, value in (("queue", 7.0), ("actors", 2.0), ("retries_total", 1.0)):
        assert [float(line.split()[-1]) for line in lines(name)] == [value]


def main(port: int) -> None:
    """Record some results in a Ray with a metrics endpoint, and print the endpoint's text."""
    import ray

    ray.init(address="local", num_cpus=1, include_dashboard=False, _metrics_export_port=port)
    run_metrics = RunMetrics()
    run_metrics.record(row("ok"), retried=False)
    run_metrics.record(row("failed", "x"), retried=True)
    run_metrics.record(row("rejected", "x"), retried=False)
    run_metrics.record(row("rejected", "x"), retried=False)
    run_metrics.set_load(7, 2)
    found = Counts(memory=5, computed=2)
    CacheMetrics().report(found)
    assert not found
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        time.sleep(1)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                text = answer.read().decode()
        except OSError:
            continue
        if "stylegallery_queue{" in text:
            print(text)
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
