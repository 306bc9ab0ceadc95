"""The proof that a run is whole: plan, rows, matches and assets agree. Reads, never writes.

What it finds is mended by the same command again, or by that command with `--check-assets`; each
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
from tasks import storage, tables
from tasks.errors import FileMissing, RecordError, StorageError
from tasks.finished_files import fault, map_digests
from tasks.keys import ItemKey, key_of
from tasks.plan_items import read_parts
from tasks.row_index import KEYS, Numbers, hashes
from tasks.run_files import RunFiles
from tasks.run_record import read_record
from tasks.success_mark import damaged_tables, read_mark

_THREADS = 8
_FILE_REMEDY = "run the same command again with --check-assets, which makes it anew"


@dataclass(frozen=True)
class Verification:
    """What a check of a run found.

    Attributes:
        ok: True when there is no problem.
        problems: One sentence each, with the command that helps.
        counts: Planned items, rows by status, assets and region maps checked, match rows.
    """

    ok: bool
    problems: list[str]
    counts: dict[str, int]


def verify(output: str, run_id: str) -> Verification:
    """Check a run from its files alone: nothing missing, nothing twice, all hashes right.

    Args:
        output: Root of the outputs.
        run_id: The run.

    Raises:
        FileMissing: there is no such run below `output`.
        StorageError: the output cannot be read at all.
    """
    files = RunFiles(storage.absolute(output), run_id)
    if not any(map(storage.exists, (files.record, files.success))) and not _has_plan(files):
        raise FileMissing(f"{files.record} not found; check the output and the run id")
    counts: Counter[str] = Counter()
    problems = [*_check_record(files), *_check_tables(files, counts)]
    try:
        mark = read_mark(files)
    except FileMissing:
        problems.append("_SUCCESS is missing: the run has not finished; run it again to resume")
    except RecordError as error:
        problems.append(str(error))
    else:
        if not problems:
            problems.extend(damaged_tables(files, mark))
    return Verification(not problems, problems, dict(counts))


def _has_plan(files: RunFiles) -> bool:
    return bool(tables.part_names(files.plan))


def _check_record(files: RunFiles) -> list[str]:
    try:
        read_record(files)
    except FileMissing:
        return [f"{files.record} is missing; {tables.MADE_ANEW}"]
    except RecordError as error:
        return [str(error)]
    return []


def _check_tables(files: RunFiles, counts: Counter[str]) -> list[str]:
    """Check the tables, and the files that they tell of."""
    problems: list[str] = []
    maps: set[str] = set()
    try:
        problems += _compare(files)
        for name, items in read_parts(files):
            problems += _check_part(files, name, items, maps, counts)
    except RecordError as error:
        problems.append(str(error))
    except FileMissing as error:
        known = tables.MADE_ANEW in str(error)
        problems.append(str(error) if known else f"{error}; {tables.MADE_ANEW}")
    return problems


def _check_part(
    files: RunFiles, name: str, items: pa.Table, maps: set[str], counts: Counter[str]
) -> list[str]:
    """Check the rows, matches, assets and region maps (but for those in `maps`) of one part."""
    planned = from_table(items, PlannedItem)
    rows = tables.read_rows(storage.join(files.results, name), ItemResult)
    counts.update(row.status for row in rows)
    counts["items"] += len(planned)
    places = Counter(row.asset_uri for row in rows if row.status == "ok")
    found = [
        *_check_rows(planned, rows),
        *_check_matches(storage.join(files.matches, name), rows, counts),
        *(f"{place}: is the asset of {n} items" for place, n in places.items() if n > 1),
    ]
    return [f"{text}; {tables.MADE_ANEW}" for text in found] + _check_files(
        files.output, rows, maps, counts
    )


def _name(key: ItemKey) -> str:
    return f"{key.product_id}/{key.view} in {key.gallery_id}"


def _compare(files: RunFiles) -> list[str]:
    """Find items that were planned and have no row, or the reverse, or more than one of either."""
    planned = _hashed(part for _, part in read_parts(files))
    found = _hashed(part for _, part in tables.read_parts(files.results, ItemResult))
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
        for parts in (read_parts(files), tables.read_parts(files.results, ItemResult))
    )
    problems = [f"{_name(key)}: planned {n} times" for key, n in here.items() if n > 1]
    problems += [f"{_name(key)}: {n} rows instead of one" for key, n in there.items() if n > 1]
    problems += [f"{_name(key)}: planned, but has no row" for key in here if key not in there]
    problems += [f"{_name(key)}: has a row, but was not planned" for key in there - here]
    return [f"{text}; {tables.MADE_ANEW}" for text in dict.fromkeys(problems)]


def _hashed(parts: Iterable[pa.Table]) -> Numbers:
    return np.sort(np.concatenate([np.zeros(0, np.int64), *map(hashes, parts)]))


def _check_rows(items: Iterable[PlannedItem], rows: Iterable[ItemResult]) -> list[str]:
    assets = {key_of(item): item.asset_key for item in items}
    problems = []
    for row in rows:
        key = key_of(row)
        if row.status == "ok":
            if row.asset_uri != assets.get(key, row.asset_uri):
                problems.append(f"{_name(key)}: its asset lies at an unplanned place")
            if row.error is not None or not row.asset_sha256 or not row.asset_uri:
                problems.append(f"{_name(key)}: is ok, but without an asset or with an error")
        elif row.error is None or not row.error.message:
            problems.append(f"{_name(key)}: is {row.status}, but does not say why")
    return problems


def _check_matches(uri: str, rows: list[ItemResult], counts: Counter[str]) -> list[str]:
    table = tables.read_table(uri)
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
            problems.append(f"{_name(key)}: matches are of regions {found}, not of 0 and on")
        elif row.status != "ok" and found:
            problems.append(f"{_name(key)}: has matches, but no asset")
    return problems + [f"{_name(key)}: has matches, but no row" for key in regions]


def _check_files(
    output: str, rows: list[ItemResult], seen: set[str], counts: Counter[str]
) -> list[str]:
    """Check hash and size of every asset, and every region map against its name."""
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
            wrong = fault(output, path, wanted[path])
        except StorageError as error:
            return str(error)
        return f"{path}: {wrong}; {_FILE_REMEDY}" if wrong else None

    with ThreadPoolExecutor(_THREADS) as pool:
        return [found for found in pool.map(check, sorted(wanted)) if found]
