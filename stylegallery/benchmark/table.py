"""What a benchmark comes to: means with intervals, and where one method is ahead of another."""

from collections.abc import Iterable, Sequence

import numpy as np

from schemas.benchmark import BenchmarkRow
from stylegallery.benchmark.runner import Entry
from stylegallery.metrics.sets import Interval, mean_interval

LOWER = (
    "gram_ratio",
    "regional_gram_ratio",
    "patch_distance",
    "colour_distance",
    "structure_distance",
)
HIGHER = ("ssim", "edge_agreement")
"""Figures of the table, by which way is better; those of style first."""


_FEWEST = 8
"""Pairs from which a difference is called one: intervals of fewer are too narrow."""


def summary_table(rows: Sequence[BenchmarkRow], frechet: dict[str, Interval]) -> str:
    """Return a Markdown table: a line for each way, each figure with half its 95 % interval.

    Args:
        rows: Of all pairs.
        frechet: By name of a way, the distance of its pictures to their references.
    """
    names = [*LOWER, *HIGHER]
    head = ["way", "references", "pairs", *(n.replace("_", " ") for n in names)]
    lines = [_line([*head, "frechet lite0", "seconds"]), "|---" * (len(head) + 2) + "|"]
    for way, mine in _by_way(rows):
        cells = [way.rpartition(", ")[0], str(mine[0].references), str(len(mine))]
        cells += [_mean(mine, name) for name in names]
        span = frechet.get(way)
        cells.append(f"{span.value:.3f} ± {(span.high - span.low) / 2:.3f}" if span else "")
        cells.append(f"{np.median([row.seconds for row in mine]):.1f}")
        lines.append(_line(cells))
    return "\n".join(lines)


def comparison_table(rows: Sequence[BenchmarkRow], ours: str = "stylegallery") -> str:
    """Return a Markdown table of what a method gains over each other way, pair by pair.

    A cell is the mean of the differences on the same pairs with half its 95 % interval, counted so
    that above 0 is better; with eight pairs or more it is bold where the interval is all on the
    good side, and marked `behind` where it is all on the bad side.

    Args:
        rows: Of all pairs.
        ours: The method that is compared to the others, with as many references.
    """
    names = [*LOWER, *HIGHER]
    head = [f"{ours} against", "references", "pairs", *(n.replace("_", " ") for n in names)]
    lines = [_line(head), "|---" * len(head) + "|"]
    mine = {
        (row.pair, row.references): row
        for row in rows
        if row.method == ours and row.preset == "balanced"
    }
    for way, theirs in _by_way(rows):
        both = [
            (mine[key], row)
            for row in theirs
            if (key := (row.pair, row.references)) in mine and row is not mine[key]
        ]
        if not both:
            continue
        cells = [way.rpartition(", ")[0], str(both[0][1].references), str(len(both))]
        lines.append(_line([*cells, *(_gain(both, name) for name in names)]))
    return "\n".join(lines)


def _by_way(rows: Iterable[BenchmarkRow]) -> list[tuple[str, list[BenchmarkRow]]]:
    found: dict[str, list[BenchmarkRow]] = {}
    for row in rows:
        found.setdefault(Entry(row.method, row.preset, row.references).name, []).append(row)
    return sorted(found.items(), key=lambda item: item[1][0].references)


def _mean(rows: list[BenchmarkRow], name: str) -> str:
    values = [value for row in rows if (value := getattr(row, name)) is not None]
    if not values:
        return ""
    span = mean_interval(np.array(values))
    return f"{span.value:.3f} ± {(span.high - span.low) / 2:.3f}"


def _gain(both: list[tuple[BenchmarkRow, BenchmarkRow]], name: str) -> str:
    sign = -1.0 if name in LOWER else 1.0
    pairs = [(getattr(one, name), getattr(other, name)) for one, other in both]
    gains = [sign * (one - other) for one, other in pairs if one is not None and other is not None]
    if not gains:
        return ""
    span = mean_interval(np.array(gains))
    text = f"{span.value:+.3f} ± {(span.high - span.low) / 2:.3f}"
    if len(gains) < _FEWEST:
        return text
    if span.low > 0:
        return f"**{text}**"
    return f"{text} behind" if span.high < 0 else text


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
