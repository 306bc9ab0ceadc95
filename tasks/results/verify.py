"""Verify a run: plan, results, matches and assets agree. It reads only.

Running the same command again repairs what it finds, in some cases with `--check-assets`; each
problem says which.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.arrow import from_table
from schemas.result import ItemResult
from schemas.work import PlannedItem
from tasks.errors import FileMissing, RecordError, StorageError
from tasks.records import parquet
from tasks.records.finished_files import file_problem, map_digests
from tasks.records.index import KEYS, Numbers, key_hashes
from tasks.records.item_key import ItemKey, key_of
from tasks.records.layout import RunFiles
from tasks.records.plan_parts import read_parts
from tasks.records.run_record import read_record
from tasks.records.success import damaged_tables, read_marker
from tasks.storage import StoragePath

_THREADS = 8
_FILE_REMEDY = "run the same command again with --check-assets, which computes it again"


@dataclass(frozen=True)
class Verification:
    """Outcome of a verification.

    Attributes:
        ok: True if there is no problem.
        problems: One sentence each, with the command that repairs it.
        counts: Planned items, results by status, checked assets and region maps, match rows.
    """

    ok: bool
    problems: list[str]
    counts: dict[str, int]


def verify(output: str, run_id: str) -> Verification:
    """Check the files of a run: nothing missing, nothing twice, all hashes correct.

    Args:
        output: The output root.
        run_id: The run.

    Raises:
        FileMissing: there is no such run below `output`.
        StorageError: the output cannot be read.
    """
    files = RunFiles(StoragePath.parse(output), run_id)
    if not (files.record.exists() or files.success.exists() or parquet.part_names(files.plan)):
        raise FileMissing(f"{files.record} not found; check the output and the run id")
    counts: Counter[str] = Counter()
    problems = [*_check_record(files), *_check_tables(files, counts)]
    try:
        marker = read_marker(files)
    except FileMissing:
        problems.append(
            "_SUCCESS is missing: the run has not finished; run the same command again to resume"
        )
    except RecordError as error:
        problems.append(str(error))
    else:
        if not problems:
            problems.extend(damaged_tables(files, marker))
    return Verification(not problems, problems, dict(counts))


def _check_record(files: RunFiles) -> list[str]:
    try:
        read_record(files)
    except FileMissing:
        return [f"{files.record} is missing; {parquet.RERUN_REMEDY}"]
    except RecordError as error:
        return [str(error)]
    return []


def _check_tables(files: RunFiles, counts: Counter[str]) -> list[str]:
    """Check the tables and the files that they list."""
    problems: list[str] = []
    maps: set[str] = set()
    try:
        problems += _compare(files)
        for name, items in read_parts(files):
            problems += _check_part(files, name, items, maps, counts)
    except RecordError as error:
        problems.append(str(error))
    except FileMissing as error:
        known = parquet.RERUN_REMEDY in str(error)
        problems.append(str(error) if known else f"{error}; {parquet.RERUN_REMEDY}")
    return problems


def _check_part(
    files: RunFiles, name: str, items: pa.Table, maps: set[str], counts: Counter[str]
) -> list[str]:
    """Check results, matches, assets and region maps of one part; skip the maps in `maps`."""
    planned = from_table(items, PlannedItem)
    rows = parquet.read_rows(files.results / name, ItemResult)
    counts.update(row.status for row in rows)
    counts["items"] += len(planned)
    places = Counter(row.asset_uri for row in rows if row.status == "ok")
    found = [
        *_check_rows(planned, rows),
        *_check_matches(files.matches / name, rows, counts),
        *(f"{place}: it is the asset of {n} items" for place, n in places.items() if n > 1),
    ]
    return [f"{text}; {parquet.RERUN_REMEDY}" for text in found] + _check_files(
        files.output, rows, maps, counts
    )


def _name(key: ItemKey) -> str:
    return f"{key.product_id}/{key.view} in {key.gallery_id}"


def _compare(files: RunFiles) -> list[str]:
    """Find planned items without a result, results without a planned item, and duplicates."""
    planned = _hashed(part for _, part in read_parts(files))
    found = _hashed(part for _, part in parquet.read_parts(files.results, ItemResult))
    if np.array_equal(planned, found) and len(np.unique(planned)) == len(planned):
        return []
    odd = set(np.setxor1d(planned, found).tolist())
    for keys in (planned, found):
        odd |= set(keys[1:][keys[1:] == keys[:-1]].tolist())
    here, there = (
        Counter(
            ItemKey(*key)
            for _, part in parts
            for key in zip(*(part[name].to_pylist() for name in KEYS), strict=True)
            if hash(key) in odd
        )
        for parts in (read_parts(files), parquet.read_parts(files.results, ItemResult))
    )
    problems = [f"{_name(key)}: it is planned {n} times" for key, n in here.items() if n > 1]
    problems += [f"{_name(key)}: {n} results instead of one" for key, n in there.items() if n > 1]
    problems += [
        f"{_name(key)}: it is planned, but has no result" for key in here if key not in there
    ]
    problems += [f"{_name(key)}: it has a result, but was not planned" for key in there - here]
    return [f"{text}; {parquet.RERUN_REMEDY}" for text in dict.fromkeys(problems)]


def _hashed(parts: Iterable[pa.Table]) -> Numbers:
    return np.sort(np.concatenate([np.zeros(0, np.int64), *map(key_hashes, parts)]))


def _check_rows(items: Iterable[PlannedItem], rows: Iterable[ItemResult]) -> list[str]:
    assets = {key_of(item): item.asset_key for item in items}
    problems = []
    for row in rows:
        key = key_of(row)
        if row.status == "ok":
            if row.asset_uri != assets.get(key, row.asset_uri):
                problems.append(f"{_name(key)}: its asset is not at the planned path")
            if row.error is not None or not row.asset_sha256 or not row.asset_uri:
                problems.append(f"{_name(key)}: its status is ok, but it has an error or no asset")
        elif row.error is None or not row.error.message:
            problems.append(
                f"{_name(key)}: its status is {row.status}, but it has no error message"
            )
    return problems


def _check_matches(file: StoragePath, rows: list[ItemResult], counts: Counter[str]) -> list[str]:
    table = parquet.read_table(file)
    regions: dict[ItemKey, list[int]] = defaultdict(list)
    for record in table.select([*KEYS, "region"]).to_pylist():
        region = record.pop("region")
        regions[ItemKey(**record)].append(region)
    counts["matches"] += table.num_rows
    problems = []
    for row in rows:
        key = key_of(row)
        found = sorted(regions.pop(key, []))
        if row.status == "ok" and (not found or found != list(range(len(row.matches)))):
            problems.append(f"{_name(key)}: its matches are of regions {found}, not of 0 to N - 1")
        elif row.status != "ok" and found:
            problems.append(f"{_name(key)}: it has matches, but no asset")
    return problems + [f"{_name(key)}: it has matches, but no result" for key in regions]


def _check_files(
    output: StoragePath, rows: list[ItemResult], seen: set[str], counts: Counter[str]
) -> list[str]:
    """Check the hash of every asset and region map."""
    good = [row for row in rows if row.status == "ok"]
    maps: dict[str, str] = {}
    for row in good:
        maps |= map_digests(row.regions_uri, row.style_regions)
    maps = {path: digest for path, digest in maps.items() if path not in seen}
    seen |= set(maps)
    wanted = maps | {str(row.asset_uri): str(row.asset_sha256) for row in good}
    counts.update({"assets": len(wanted) - len(maps), "region_maps": len(maps)})

    def check(path: str) -> str | None:
        try:
            wrong = file_problem(output / path, wanted[path])
        except StorageError as error:
            return str(error)
        return f"{path}: {wrong}; {_FILE_REMEDY}" if wrong else None

    with ThreadPoolExecutor(_THREADS) as pool:
        return [found for found in pool.map(check, sorted(wanted)) if found]
