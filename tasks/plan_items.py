"""The items of a plan as Parquet parts: on the local disk while planning, then in the output."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.arrow import from_table
from schemas.work import WorkItem
from tasks import storage, tables
from tasks.errors import FileMissing
from tasks.run_files import RunFiles


class PlanItems:
    """The items of a plan, gallery after gallery, in the catalog's order.

    They lie in a folder that goes away with this object: a plan may be larger than the memory, and
    planning leaves the output as it is.
    """

    def __init__(self, galleries: list[str]) -> None:
        """Take items of these galleries."""
        self._home = Path(mkdtemp(prefix="stylegallery-plan-"))
        finalize(self, shutil.rmtree, self._home, ignore_errors=True)
        self._numbers = {name: number for number, name in enumerate(galleries)}
        self._parts: Counter[str] = Counter()
        self._digests = {name: hashlib.sha256(name.encode()) for name in galleries}
        self._count = 0

    def add(self, gallery_id: str, table: pa.Table) -> None:
        """Take the next items of a gallery."""
        name = f"part-{self._numbers[gallery_id]:05d}-{self._parts[gallery_id]:05d}.parquet"
        (self._home / name).write_bytes(tables.to_bytes(table))
        self._parts[gallery_id] += 1
        self._count += len(table)
        keys = zip(*(table[c].to_pylist() for c in ("item_id", "product_id", "view")), strict=True)
        text = "".join("\t".join(key) + "\n" for key in keys)  # ids hold no control characters
        self._digests[gallery_id].update(text.encode())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[WorkItem]:
        for _, part in self.parts():
            yield from from_table(part, WorkItem)

    def parts(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield the items as tables, in order, each with its file's name."""
        for path in sorted(self._home.iterdir()):
            yield path.name, pq.read_table(path)

    def digest(self) -> str:
        """Return a hash of the items' identities."""
        digest = hashlib.sha256()
        for name, own in self._digests.items():
            if name in self._parts:
                digest.update(own.digest())
        return digest.hexdigest()

    def checksum(self) -> str:
        """Return a hash of all that is in the items, further columns included."""
        digest = hashlib.sha256()
        for path in sorted(self._home.iterdir()):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def write(self, files: RunFiles) -> None:
        """Copy the parts into a run's folder.

        Raises:
            StorageError: the output cannot be written.
        """
        for path in self._home.iterdir():
            storage.write_bytes(storage.join(files.plan, path.name), path.read_bytes())


def read_parts(files: RunFiles) -> Iterator[tuple[str, pa.Table]]:
    """Yield name and items of each part of a run's plan, from its folder, in order.

    Raises:
        FileMissing: there is no plan.
        RecordError: a part is damaged.
        StorageError: the output cannot be read.
    """
    if not tables.part_names(files.plan):
        raise FileMissing(f"{files.plan} holds no plan; run the same command again")
    yield from tables.read_parts(files.plan, WorkItem)
