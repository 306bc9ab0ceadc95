"""The proof that a run is whole: plan, rows, matches and assets agree. Reads, never writes."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.arrow import from_table
from schemas.result import ItemResult
from schemas.work import PlannedItem
from tasks import storage
from tasks.errors import FileMissing, RecordError, StorageError
from tasks.records import parquet
from tasks.records.index import KEYS, Numbers, hashes
from tasks.records.item_key import ItemKey, key_of
from tasks.records.layout import RunFiles
from tasks.records.plan_parts import read_parts

_THREADS = 8


@dataclass(frozen=True)
class Verification:
    """What a check of a run found.

    Attributes:
        ok: True when there is no problem.
        problems: One sentence each.
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
    if not storage.exists(files.record):
        raise FileMissing(f"{files.record} not found; check the output and the run id")
    problems: list[str] = []
    counts: Counter[str] = Counter()
    if not storage.exists(files.success):
        problems.append("_SUCCESS is missing: the run has not finished; run it again to resume")
    try:
        problems += _compare(files)
        maps: set[str] = set()
        for name, items in read_parts(files):
            problems += _check_part(files, name, items, maps, counts)
    except (RecordError, FileMissing) as error:
        problems.append(str(error))
    return Verification(not problems, problems, dict(counts))


def _check_part(
    files: RunFiles, name: str, items: pa.Table, maps: set[str], counts: Counter[str]
) -> list[str]:
    """Check the rows, matches, assets and region maps (but for those in `maps`) of one part."""
    planned = from_table(items, PlannedItem)
    rows = parquet.read_rows(storage.join(files.results, name), ItemResult)
    counts.update(row.status for row in rows)
    counts["items"] += len(planned)
    return [
        *_check_rows(planned, rows),
        *_check_matches(storage.join(files.matches, name), rows, counts),
        *_check_files(files.output, rows, maps, counts),
    ]


def _name(key: ItemKey) -> str:
    return f"{key.product_id}/{key.view} in {key.gallery_id}"


def _compare(files: RunFiles) -> list[str]:
    """Find items that were planned and have no row, or the reverse, or more than one of either."""
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
    problems = [f"{_name(key)}: planned {n} times" for key, n in here.items() if n > 1]
    problems += [f"{_name(key)}: {n} rows instead of one" for key, n in there.items() if n > 1]
    problems += [f"{_name(key)}: planned, but has no row" for key in here if key not in there]
    problems += [f"{_name(key)}: has a row, but was not planned" for key in there - here]
    return list(dict.fromkeys(problems))


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
    table = parquet.read_table(uri)
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
    maps = {path for row in good for path in (row.regions_uri, *row.style_regions.values()) if path}
    maps -= seen
    seen |= maps
    wanted = {path: path.rsplit("/", 1)[-1].removesuffix(".png") for path in maps}
    wanted |= {str(row.asset_uri): str(row.asset_sha256) for row in good}
    counts.update({"assets": len(wanted) - len(maps), "region_maps": len(maps)})
    places = Counter(row.asset_uri for row in good)
    problems = [f"{place}: is the asset of {n} items" for place, n in places.items() if n > 1]

    def check(path: str) -> str | None:
        try:
            data = storage.read_bytes(storage.join(output, path))
        except FileMissing:
            hint = "" if path in maps else "; run again with check_assets, which makes it anew"
            return f"{path}: is missing{hint}"
        except StorageError as error:
            return str(error)
        if hashlib.sha256(data).hexdigest() != wanted[path]:
            return f"{path}: its bytes are not those that were written"
        return None

    with ThreadPoolExecutor(_THREADS) as pool:
        return problems + [found for found in pool.map(check, sorted(wanted)) if found]
