"""What a benchmark leaves: rows, pictures, a table and contact sheets, in one folder."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from schemas.arrow import from_table, to_table
from schemas.benchmark import BenchmarkRow
from stylegallery import images
from stylegallery.benchmark import Entry, Pair
from stylegallery.benchmark_table import comparison_table, summary_table
from stylegallery.metrics.judging import Judge
from stylegallery.metrics.sets import Interval, frechet_interval
from stylegallery.types import Picture
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
        return (pair.name, entry.name) in self._rows and self._picture(pair, entry).exists()

    def keep(self, pair: Pair, entry: Entry, row: BenchmarkRow, picture: Picture) -> None:
        """Write a picture down, then its row."""
        self._write(self._picture(pair, entry), images.encode(picture, "png"))
        self._rows[pair.name, entry.name] = row
        out = io.BytesIO()
        pq.write_table(to_table(self._rows.values(), BenchmarkRow), out)
        self._write(self._rows_file, out.getvalue())

    def write(self, pairs: Sequence[Pair], entries: Sequence[Entry]) -> str:
        """Write `table.md` and the contact sheets; return the text of the tables."""
        rows = [self._rows[pair.name, entry.name] for entry in entries for pair in pairs]
        frechet = {entry.name: self._frechet(pairs, entry) for entry in entries}
        text = f"{summary_table(rows, frechet)}\n\n{comparison_table(rows)}\n"
        self._write(self._home / "table.md", text.encode())
        for first in range(0, len(pairs), _SHEET_ROWS):
            sheet = [self._cells(pair, entries) for pair in pairs[first : first + _SHEET_ROWS]]
            out = io.BytesIO()
            contact_sheet(sheet).save(out, "PNG")
            self._write(self._home / f"sheet-{first // _SHEET_ROWS}.png", out.getvalue())
        return text

    def _frechet(self, pairs: Sequence[Pair], entry: Entry) -> Interval:
        judge = Judge()
        made = [self._picture(pair, entry) for pair in pairs]
        used = sorted({path for pair in pairs for path in pair.references[: entry.references]})
        sets = [
            np.stack([judge.vectors(images.open_picture(path).pixels).numpy() for path in paths])
            for paths in (made, used)
        ]
        return frechet_interval(sets[0].astype(np.float64), sets[1].astype(np.float64))

    def _cells(self, pair: Pair, entries: Sequence[Entry]) -> list[Cell]:
        shown = [("original", pair.content), (pair.family, pair.references[0])]
        shown += [(entry.name, self._picture(pair, entry)) for entry in entries]
        return [(text, photo(images.open_picture(path))) for text, path in shown]

    def _picture(self, pair: Pair, entry: Entry) -> Path:
        name = entry.name.replace(", ", "-").replace(" ", "-")
        return self._home / "pictures" / f"{pair.name}-{name}.png"

    def _write(self, place: Path, data: bytes) -> None:
        draft = place.with_suffix(".draft")
        draft.write_bytes(data)
        draft.replace(place)
