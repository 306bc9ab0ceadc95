"""What a benchmark leaves: rows, pictures, a table and contact sheets, in one folder."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from schemas.arrow import from_table, to_table
from schemas.benchmark import BenchmarkRow
from stylegallery.benchmark.runner import Entry, Pair
from stylegallery.benchmark.table import comparison_table, summary_table
from stylegallery.images import codec
from stylegallery.images.picture import Picture
from stylegallery.metrics.item import Judge
from stylegallery.metrics.sets import Interval, frechet_interval
from stylegallery.visualize import Cell, contact_sheet, photo

_SHEET_ROWS = 8


class BenchmarkFolder:
    """A folder that is filled picture by picture, so that a long benchmark may be stopped."""

    def __init__(self, home: Path) -> None:
        """Open a folder, with what an earlier benchmark left in it."""
        self._home, self._rows_file = home, home / "rows.parquet"
        (home / "pictures").mkdir(parents=True, exist_ok=True)
        self._rows: dict[tuple[str, str], BenchmarkRow] = {}
        if self._rows_file.exists():
            for row in from_table(pq.read_table(self._rows_file), BenchmarkRow):
                way = Entry(row.method, row.preset, row.references).name
                self._rows[row.pair, way] = row

    def has(self, pair: Pair, entry: Entry) -> bool:
        """Tell whether a picture is made already."""
        return self._made(pair, entry) and self._picture(pair, entry).exists()

    def keep(self, pair: Pair, entry: Entry, row: BenchmarkRow, picture: Picture) -> None:
        """Write a picture down, then its row."""
        self._write(self._picture(pair, entry), codec.encode(picture, "png"))
        self._rows[pair.name, entry.name] = row
        out = io.BytesIO()
        pq.write_table(to_table(self._rows.values(), BenchmarkRow), out)
        self._write(self._rows_file, out.getvalue())

    def write(self, pairs: Sequence[Pair], entries: Sequence[Entry]) -> str:
        """Write `table.md` and the contact sheets of all that is made; return the tables' text.

        Args:
            pairs: Those that count; a way need not have been tried on all of them.
            entries: Ways in their order; what earlier calls made in other ways comes after them.
        """
        counts = list(dict.fromkeys(entry.references for entry in entries))
        earlier = [Entry(row.method, row.preset, row.references) for row in self._rows.values()]
        ways = [
            way
            for way in dict.fromkeys([*entries, *earlier])
            if way.references in counts and any(self._made(pair, way) for pair in pairs)
        ]
        rows = [self._rows[p.name, w.name] for w in ways for p in pairs if self._made(p, w)]
        frechet: dict[str, Interval] = {}
        for count in counts:
            alike = [way for way in ways if way.references == count]
            shared = [p for p in pairs if all(self._made(p, way) for way in alike)]
            if len(shared) > 1:
                frechet |= {way.name: self._frechet(shared, way) for way in alike}
            self._write_sheets(pairs, alike, count)
        text = f"{summary_table(rows, frechet)}\n\n{comparison_table(rows)}\n"
        self._write(self._home / "table.md", text.encode())
        return text

    def _made(self, pair: Pair, way: Entry) -> bool:
        return (pair.name, way.name) in self._rows

    def _frechet(self, pairs: Sequence[Pair], way: Entry) -> Interval:
        judge = Judge()
        made = [self._picture(pair, way) for pair in pairs]
        used = sorted({path for pair in pairs for path in pair.references[: way.references]})
        sets = [
            np.stack([judge.vectors(codec.open_picture(path).pixels).numpy() for path in paths])
            for paths in (made, used)
        ]
        return frechet_interval(sets[0].astype(np.float64), sets[1].astype(np.float64))

    def _write_sheets(self, pairs: Sequence[Pair], ways: Sequence[Entry], references: int) -> None:
        for first in range(0, len(pairs), _SHEET_ROWS):
            sheet = [
                self._cells(pair, ways, references) for pair in pairs[first : first + _SHEET_ROWS]
            ]
            out = io.BytesIO()
            contact_sheet(sheet).save(out, "PNG")
            name = f"sheet-{references}-{first // _SHEET_ROWS}.png"
            self._write(self._home / name, out.getvalue())

    def _cells(self, pair: Pair, ways: Sequence[Entry], references: int) -> list[Cell]:
        shown = [("original", pair.content)]
        shown += [(pair.family, path) for path in pair.references[:references]]
        shown += [(way.name, self._picture(pair, way)) for way in ways if self._made(pair, way)]
        return [(text, photo(codec.open_picture(path))) for text, path in shown]

    def _picture(self, pair: Pair, entry: Entry) -> Path:
        name = entry.name.replace(", ", "-").replace(" ", "-")
        return self._home / "pictures" / f"{pair.name}-{name}.png"

    def _write(self, place: Path, data: bytes) -> None:
        draft = place.with_suffix(".draft")
        draft.write_bytes(data)
        draft.replace(place)
