"""Checks the output of a run with faults against its plan and a run without faults."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tasks.results.verify import verify

_KEY = ("item_id", "product_id", "view", "gallery_id")


@dataclass(frozen=True)
class Verdict:
    """Result of the checks.

    Attributes:
        problems: One sentence each.
        verified: True if `verify` passes.
        same_bytes: True if assets and region maps equal those of the run without faults.
        rows: Number of rows of the run.
        attempts: Sum of the attempts of all rows.
        redone: Number of rows with more than one attempt.
        adopted: Number of rows made for assets that already existed.
    """

    problems: list[str]
    verified: bool
    same_bytes: bool
    rows: int = 0
    attempts: int = 0
    redone: int = 0
    adopted: int = 0


def judge(output_uri: str, folder: Path, calm: Path, items: int) -> Verdict:
    """Compare the files of a run with its plan, its rows and the run without faults.

    Reads tables and files from the disk behind the server, without the code under test, and calls
    `verify` too.

    Args:
        output_uri: Output of the run.
        folder: Folder of that output.
        calm: Folder of the output without faults.
        items: Expected number of items.
    """
    runs = sorted(path.name for path in (folder / "runs").iterdir())
    if len(runs) != 1:
        return Verdict([f"{len(runs)} runs instead of one: {runs}"], False, False)
    proof = verify(output_uri, runs[0])
    home = folder / "runs" / runs[0]
    planned, rows = _table(home / "plan"), _table(home / "results")
    found = _hashes(folder)
    differences = list(_differences(_hashes(calm), found))
    problems = [
        *proof.problems,
        *_rows_and_plan(planned, rows, items),
        *_rows_and_assets(rows, {path for path in found if path.startswith("assets/")}),
        *differences,
        *_leftovers(folder),
        *_record(home),
    ]
    return Verdict(
        problems,
        proof.ok,
        not differences,
        len(rows),
        sum(row["attempts"] for row in rows),
        sum(row["attempts"] > 1 for row in rows),
        sum(row["reused"] for row in rows),
    )


def _table(folder: Path) -> list[dict[str, Any]]:
    return [
        row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


def _rows_and_plan(
    planned: list[dict[str, Any]], rows: list[dict[str, Any]], items: int
) -> Iterable[str]:
    if len(planned) != items:
        yield f"{len(planned)} items are planned instead of {items}"
    wanted, there = (
        Counter(tuple(row[n] for n in _KEY) for row in table) for table in (planned, rows)
    )
    for key in wanted.keys() | there.keys():
        if (wanted[key], there[key]) != (1, 1):
            yield f"{key}: planned {wanted[key]} times, {there[key]} rows"
    for row in rows:
        if row["status"] != "ok":
            yield f"{row['product_id']} in {row['gallery_id']}: {row['status']}: {row['error']}"


def _rows_and_assets(rows: list[dict[str, Any]], assets: set[str]) -> Iterable[str]:
    told = {row["asset_uri"] for row in rows if row["status"] == "ok"}
    yield from (f"{path}: an asset without a row" for path in assets - told)
    yield from (f"{path}: a row without its asset" for path in told - assets)


def _hashes(output: Path) -> dict[str, str]:
    """Return the hash of each asset and region map."""
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("assets", "regions")
        for path in (output / name).rglob("*")
        if path.is_file()
    }


def _differences(calm: dict[str, str], stormy: dict[str, str]) -> Iterable[str]:
    for path in sorted(calm.keys() | stormy.keys()):
        if path not in stormy:
            yield f"{path}: is missing"
        elif path not in calm:
            yield f"{path}: the calm run has no such file"
        elif calm[path] != stormy[path]:
            yield f"{path}: its bytes differ from those of the calm run"


def _record(home: Path) -> Iterable[str]:
    """Find signs that the run has not finished."""
    state = json.loads((home / "run.json").read_text())["state"]
    if state != "finished":
        yield f"run.json says {state!r}"
    if (home / "lock.json").exists():
        yield "the run's lock was left behind"


def _leftovers(folder: Path) -> Iterable[str]:
    for path in folder.rglob("*"):
        name = path.name
        if path.is_file() and (name.startswith(".") or name.endswith((".tmp", ".partial"))):
            yield f"{path.relative_to(folder)}: a draft was left behind"
