"""The benchmarks run: one pair on a tiny model, with every kind of variant."""

import json
from pathlib import Path

from PIL import Image

from stylegallery.methods import METHODS
from tests.benchmarks.ablations import COLUMNS, main
from tests.tiny_model import write_tiny_model


def test_ablations_write_a_table_and_a_sheet(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny")
    names = [
        "stylegallery",
        "hard, masks by zero",
        "optimise from inverted",
        "optimise, 1 anchor",
        "2 references",
    ]
    before = dict(METHODS)
    out = tmp_path / "out"
    words = ["--out", str(out), "--model", str(model), "--pairs", "1", "--preset", "preview"]
    main([*words, "--variants", *names])
    assert before == METHODS
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [row["variant"] for row in rows] == names
    assert len({row["gram"] for row in rows}) == len(names)
    table = (out / "table.md").read_text().splitlines()
    assert table[0].split(" | ")[1:] == [*COLUMNS[:-1], f"{COLUMNS[-1]} |"]
    assert len(table) == 2 + len(names)
    with Image.open(out / "sheet-0.png") as sheet:
        assert sheet.size == ((2 + len(names)) * 192, 192)
