"""Measure the cost of waiting threads: one engine alone, and two on the same cores.

`python -m tests.benchmarks.shared_cores` restyles a small picture in separate processes with
several OpenMP settings, alone and beside a second such process. It prints a table of seconds and
of ratios to the first setting. Run it on a quiet machine; it prints the load.
"""

import argparse
import os
import subprocess
import sys
from statistics import median

SETTINGS: dict[str, dict[str, str]] = {
    "libgomp's own": {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "GOMP_SPINCOUNT=100": {"GOMP_SPINCOUNT": "100"},
    "GOMP_SPINCOUNT=300": {"GOMP_SPINCOUNT": "300"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
_WORK = """
import sys, time
from skimage import data
import torch
from stylegallery import Picture, StyleGallery
from schemas.presets import preset_params
def picture(photo):
    pixels = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255
    return Picture(pixels[..., :256, :256].contiguous())
params = preset_params("preview")
engine = StyleGallery.load("embedded")
content, style = (engine.prepare(picture(p()), params) for p in (data.astronaut, data.coffee))
routing = engine.match(content, [style], params)
engine.stylize(content, [style], routing, params)  # not timed: caches fill
print("ready", flush=True)
sys.stdin.readline()
begin = time.perf_counter()
for _ in range(int(sys.argv[1])):
    engine.stylize(content, [style], routing, params)
print((time.perf_counter() - begin) / int(sys.argv[1]), flush=True)
sys.stdin.readline()
"""


def seconds(setting: dict[str, str], beside: int, pictures: int) -> list[float]:
    """Return the seconds per picture of each of the processes that run at the same time."""
    cleared = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
    env = {name: value for name, value in os.environ.items() if name not in cleared} | setting
    command = [sys.executable, "-c", _WORK, str(pictures)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": env}
    workers: list[subprocess.Popen[str]] = []
    for _ in range(beside):
        workers.append(subprocess.Popen(command, **pipes))  # type: ignore[call-overload]
        assert workers[-1].stdout is not None
        assert workers[-1].stdout.readline().strip() == "ready"
    found = []
    for worker in workers:
        worker.stdin.write("\n")  # type: ignore[union-attr]
        worker.stdin.flush()  # type: ignore[union-attr]
    for worker in workers:
        found.append(float(worker.stdout.readline()))  # type: ignore[union-attr]
    for worker in workers:
        worker.communicate("\n")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=3, help="Pictures timed in each process.")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds; medians are printed.")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before")
    rows: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in SETTINGS}
    for _ in range(options.rounds):
        for name, setting in SETTINGS.items():
            rows[name][0].extend(seconds(setting, 1, options.pictures))
            rows[name][1].append(max(seconds(setting, 2, options.pictures)))
    alone, beside = (median(rows["libgomp's own"][k]) for k in (0, 1))
    print(
        "| setting | alone, s | ratio | two beside each other, s | ratio |\n|---|---|---|---|---|"
    )
    for name, (one, two) in rows.items():
        a, b = median(one), median(two)
        print(f"| {name} | {a:.2f} | {a / alone:.2f} | {b:.2f} | {b / beside:.2f} |")


if __name__ == "__main__":
    main()
