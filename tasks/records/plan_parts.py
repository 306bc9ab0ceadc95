"""The items of a plan as Parquet parts: on the local disk while planning, then in the output.

The references of a gallery are stored once, in a separate table.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.arrow import from_table, to_table
from schemas.work import PlannedItem, PlannedStyle, StyleSource, WorkItem
from tasks.errors import FileMissing, RecordError
from tasks.records import parquet
from tasks.records.layout import RunFiles
from tasks.storage.leftovers import is_abandoned, mark_in_use

Styles = dict[str, list[StyleSource]]
"""gallery_id to its references, sorted by style_id."""

_PREFIX = "stylegallery-planned-"
_LATER = ("method", "preset")
_STYLES_PART = "part-00000.parquet"
_MOST_PROBLEMS = 20
_REJECTED = ""
"""Group of the items whose manifest rows cannot be used."""


class PlanItems:
    """The items of a plan, sorted by gallery, then by catalog row; rejected items are last.

    They are stored in a temporary folder, which is deleted together with this object: a plan may be
    larger than the memory, and planning does not write to the output.

    Attributes:
        styles: The references of each gallery.
        rejected: Number of rejected items.
        problems: The first few reasons for rejection.
    """

    def __init__(self, galleries: list[str]) -> None:
        """Create an empty plan for these galleries."""
        self._home = Path(mkdtemp(prefix=_PREFIX))
        handle = os.open(self._home, os.O_RDONLY)
        mark_in_use(handle)
        finalize(self, os.close, handle)
        finalize(self, shutil.rmtree, self._home, ignore_errors=True)
        _sweep(self._home)
        groups = [*galleries, _REJECTED]
        self._numbers = {name: number for number, name in enumerate(groups)}
        self._parts: Counter[str] = Counter()
        self._digests = {name: hashlib.sha256(name.encode()) for name in groups}
        self._count = 0
        self.styles: Styles = {}
        self.rejected = 0
        self.problems: list[str] = []

    def add(self, gallery_id: str, table: pa.Table) -> None:
        """Append items of a gallery, whose references are in `styles`."""
        self._add(gallery_id, table)

    def add_rejected(self, table: pa.Table) -> None:
        """Append rejected items, of any gallery."""
        self._add(_REJECTED, table)
        self.rejected += len(table)
        new = (text for text in table["problem"].unique().to_pylist() if text not in self.problems)
        self.problems += islice(new, _MOST_PROBLEMS - len(self.problems))

    def _add(self, group: str, table: pa.Table) -> None:
        name = f"part-{self._numbers[group]:05d}-{self._parts[group]:05d}.parquet"
        (self._home / name).write_bytes(parquet.to_bytes(table))
        self._parts[group] += 1
        self._count += len(table)
        keys = zip(*(table[c].to_pylist() for c in ("item_id", "product_id", "view")), strict=True)
        text = "".join("\t".join(key) + "\n" for key in keys)  # ids have no control characters
        self._digests[group].update(text.encode())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[WorkItem]:
        for _, part in self.parts():
            yield from work_items(part, self.styles)

    def parts(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield file name and items of each part, in order."""
        for path in sorted(self._home.iterdir()):
            yield path.name, pq.read_table(path)

    def own_settings(self) -> dict[str, list[str]]:
        """Return galleries with a method or preset of their own, by a text such as `method x`."""
        found: dict[str, list[str]] = {}
        for name, (first, *_) in sorted(self.styles.items()):
            named = {"method": first.method, "preset": first.preset}
            if text := ", ".join(f"{kind} {value}" for kind, value in named.items() if value):
                found.setdefault(text, []).append(name)
        return found

    def digest(self) -> str:
        """Return a hash of the items' keys."""
        digest = hashlib.sha256()
        for name, own in self._digests.items():
            if name in self._parts:
                digest.update(own.digest())
        return digest.hexdigest()

    def checksum(self) -> str:
        """Return a hash of all columns of the items and of their references."""
        digest = hashlib.sha256(self._styles_bytes())
        for path in sorted(self._home.iterdir()):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def write(self, files: RunFiles) -> None:
        """Copy the parts to a run's folder, and delete other parts there.

        Raises:
            StorageError: the output cannot be written.
        """
        (files.plan_styles / _STYLES_PART).write_bytes(self._styles_bytes())
        for path in self._home.iterdir():
            (files.plan / path.name).write_bytes(path.read_bytes())
        parquet.keep_only(files.plan_styles, {_STYLES_PART})
        parquet.keep_only(files.plan, {path.name for path in self._home.iterdir()})

    def _styles_bytes(self) -> bytes:
        rows = (
            PlannedStyle(gallery_id=name, **style.model_dump())
            for name in sorted(self.styles)
            for style in self.styles[name]
        )
        table = to_table(rows, PlannedStyle)
        # Plans without them have the bytes, and so the checksum, of versions before the columns.
        unused = [name for name in _LATER if table[name].null_count == len(table)]
        return parquet.to_bytes(table.drop_columns(unused))


class RunPlan:
    """Reads the plan in a run's folder."""

    def __init__(self, files: RunFiles) -> None:
        """Read the references.

        Raises:
            FileMissing: the plan does not exist.
            RecordError: a table is damaged.
            StorageError: the output cannot be read.
        """
        self._files = files
        self._styles: Styles | None = None
        for _, part in parquet.read_parts(files.plan_styles, PlannedStyle):
            self._styles = self._styles or {}
            for row in from_table(part, PlannedStyle):
                style = StyleSource(**row.model_dump(exclude={"gallery_id"}))
                self._styles.setdefault(row.gallery_id, []).append(style)

    def part(self, name: str) -> pa.Table:
        """Return the items of one part as a table; pass a selection of rows to :meth:`items`.

        Raises:
            FileMissing: the part does not exist.
            RecordError: the part is damaged.
            StorageError: the part cannot be read.
        """
        # Plans of older versions have the references in each item, without a separate table.
        model = WorkItem if self._styles is None else PlannedItem
        return parquet.read_rows_table(self._files.plan / name, model)

    def items(self, table: pa.Table) -> list[WorkItem]:
        """Return rows of a part as items.

        Raises:
            RecordError: the plan lacks the references of a gallery.
        """
        if self._styles is None:
            return from_table(table, WorkItem)
        try:
            return work_items(table, self._styles)
        except KeyError as error:
            raise RecordError(
                f"{self._files.plan_styles} lacks gallery {error}; run the same command again"
            ) from error


def _sweep(home: Path) -> None:
    """Delete the temporary folders of killed processes beside `home`, which was just created."""
    now = home.stat().st_mtime
    for folder in home.parent.glob(f"{_PREFIX}*"):
        if is_abandoned(str(folder), now):
            shutil.rmtree(folder, ignore_errors=True)


def work_items(table: pa.Table, styles: Styles) -> list[WorkItem]:
    """Return rows of a plan as items; items of a gallery share one list of references.

    Raises:
        KeyError: `styles` lacks a gallery.
    """
    found = []
    for item in from_table(table, PlannedItem):
        own = [] if item.problem else styles[item.gallery_id]
        # Not validated, because that would copy thousands of references per item.
        found.append(WorkItem.model_construct(**dict(item), styles=own))
    return found


def read_parts(files: RunFiles) -> Iterator[tuple[str, pa.Table]]:
    """Yield name and items of each part of the plan in a run's folder, in order.

    Raises:
        FileMissing: the plan does not exist.
        RecordError: a part is damaged.
        StorageError: the output cannot be read.
    """
    if not parquet.part_names(files.plan):
        raise FileMissing(f"{files.plan} holds no plan; {parquet.RERUN_REMEDY}")
    yield from parquet.read_parts(files.plan, PlannedItem)


def has_problem(items: pa.Table) -> bool:
    """Tell whether the items of a part are rejected."""
    return len(items) > 0 and items["problem"].null_count < len(items)
