"""The output folder of a benchmark: rows, pictures, a table and contact sheets."""

import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch

from schemas.arrow import from_table, to_table
from schemas.benchmark import BenchmarkRow
from schemas.evaluation import ConfidenceInterval
from stylegallery.benchmark.runner import BenchmarkVariant, Pair
from stylegallery.benchmark.table import comparison_table, summary_table
from stylegallery.images import codec
from stylegallery.images.picture import Picture
from stylegallery.metrics.item import MetricSuite
from stylegallery.metrics.sets import frechet_interval
from stylegallery.visualize import Cell, contact_sheet, photo

_SHEET_ROWS = 8


class BenchmarkFolder:
    """An output folder, written picture by picture, so that a stopped benchmark can be resumed."""

    def __init__(self, home: Path) -> None:
        """Open or create a folder, and read the rows of earlier benchmarks in it."""
        self._home, self._rows_file = home, home / "rows.parquet"
        (home / "pictures").mkdir(parents=True, exist_ok=True)
        self._rows: dict[tuple[str, str], BenchmarkRow] = {}
        if self._rows_file.exists():
            for row in from_table(pq.read_table(self._rows_file), BenchmarkRow):
                self._rows[row.pair, _variant(row).name] = row

    def has(self, pair: Pair, variant: BenchmarkVariant) -> bool:
        """Whether the picture and its row exist."""
        return self._is_done(pair, variant) and self._picture(pair, variant).exists()

    def save(
        self, pair: Pair, variant: BenchmarkVariant, row: BenchmarkRow, picture: Picture
    ) -> None:
        """Save a picture, then its row."""
        self._write(self._picture(pair, variant), codec.encode(picture, "png"))
        self._rows[pair.name, variant.name] = row
        out = io.BytesIO()
        pq.write_table(to_table(self._rows.values(), BenchmarkRow), out)
        self._write(self._rows_file, out.getvalue())

    def write(self, pairs: Sequence[Pair], variants: Sequence[BenchmarkVariant]) -> str:
        """Write `table.md` and the contact sheets; return the text of the tables.

        Args:
            pairs: Pairs to include; a variant may lack some of them.
            variants: Variants in the order of the table; those of earlier benchmarks follow.
        """
        counts = list(dict.fromkeys(variant.references for variant in variants))
        earlier = [_variant(row) for row in self._rows.values()]
        shown = [
            variant
            for variant in dict.fromkeys([*variants, *earlier])
            if variant.references in counts and any(self._is_done(pair, variant) for pair in pairs)
        ]
        rows = [self._rows[p.name, v.name] for v in shown for p in pairs if self._is_done(p, v)]
        frechet: dict[str, ConfidenceInterval] = {}
        for count in counts:
            alike = [variant for variant in shown if variant.references == count]
            shared = [p for p in pairs if all(self._is_done(p, variant) for variant in alike)]
            if len(shared) > 1:
                frechet |= {variant.name: self._frechet(shared, variant) for variant in alike}
            self._write_sheets(pairs, alike, count)
        text = f"{summary_table(rows, frechet)}\n\n{comparison_table(rows)}\n"
        self._write(self._home / "table.md", text.encode())
        return text

    def _is_done(self, pair: Pair, variant: BenchmarkVariant) -> bool:
        return (pair.name, variant.name) in self._rows

    def _frechet(self, pairs: Sequence[Pair], variant: BenchmarkVariant) -> ConfidenceInterval:
        suite = MetricSuite()
        made = [self._picture(pair, variant) for pair in pairs]
        used = sorted({path for pair in pairs for path in pair.references[: variant.references]})
        pictures, references = (
            torch.stack([suite.block_vectors(codec.open_picture(path).pixels) for path in paths])
            for paths in (made, used)
        )
        return frechet_interval(pictures.double().numpy(), references.double().numpy())

    def _write_sheets(
        self, pairs: Sequence[Pair], variants: Sequence[BenchmarkVariant], references: int
    ) -> None:
        for first in range(0, len(pairs), _SHEET_ROWS):
            sheet = [
                self._cells(pair, variants, references)
                for pair in pairs[first : first + _SHEET_ROWS]
            ]
            out = io.BytesIO()
            contact_sheet(sheet).save(out, "PNG")
            name = f"sheet-{references}-{first // _SHEET_ROWS}.png"
            self._write(self._home / name, out.getvalue())

    def _cells(
        self, pair: Pair, variants: Sequence[BenchmarkVariant], references: int
    ) -> list[Cell]:
        shown = [("original", pair.content)]
        shown += [(pair.family, path) for path in pair.references[:references]]
        done = [variant for variant in variants if self._is_done(pair, variant)]
        shown += [(variant.name, self._picture(pair, variant)) for variant in done]
        return [(text, photo(codec.open_picture(path))) for text, path in shown]

    def _picture(self, pair: Pair, variant: BenchmarkVariant) -> Path:
        name = variant.name.replace(", ", "-").replace(" ", "-")
        return self._home / "pictures" / f"{pair.name}-{name}.png"

    def _write(self, place: Path, data: bytes) -> None:
        draft = place.with_suffix(".draft")
        draft.write_bytes(data)
        draft.replace(place)


def _variant(row: BenchmarkRow) -> BenchmarkVariant:
    return BenchmarkVariant(row.method, row.preset, row.references)
