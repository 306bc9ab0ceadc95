"""The explanation of an item; an edited routing file changes only the edited match."""

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from schemas.result import MatchRow
from tasks.errors import FileMissing
from tasks.results.explain import explain
from tests.tasks.conftest import MakeSpec, write_catalog
from tests.tasks.test_run import run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]


def matches_of(output: str, run_id: str, gallery: str) -> list[dict[str, object]]:
    rows = pq.read_table(Path(output) / "runs" / run_id / "matches").to_pylist()
    return [row for row in rows if row["gallery_id"] == gallery]


def test_one_edited_line_changes_only_that_regions_source(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(products=1)
    plan, _, _ = run(spec)
    found = {one.folder: one.files for one in explain(spec.output, plan.run_id, "p0")}
    assert set(found) == {"coffee/p0/main", "rocket/p0/main"}
    files = found["coffee/p0/main"]
    assert set(files) == {
        "matches.png", "routing.json", "regions-content.png",
        "regions-style-cup.png", "regions-style-table.png",
    }  # fmt: skip
    for name, data in files.items():
        if name.endswith(".png"):
            with Image.open(io.BytesIO(data)) as image:
                assert image.mode == ("RGB" if name == "matches.png" else "P")

    routing = json.loads(files["routing.json"])
    before = matches_of(spec.output, plan.run_id, "coffee")
    shared = list(MatchRow.model_fields)
    assert [{n: row[n] for n in shared} for row in before] == routing["matches"]
    edited = routing["matches"][0]
    edited["style_id"] = {"cup": "table", "table": "cup"}[edited["style_id"]]
    edited["style_region"] = 0
    routing["matches"] = [edited]
    (tmp_path / "in" / "routing.json").write_text(json.dumps(routing))
    write_catalog(tmp_path / "in", 1, routing_uri=["routing.json"])
    again, _, _ = run(spec.model_copy(update={"gallery_ids": ["coffee"]}))
    after = matches_of(spec.output, again.run_id, "coffee")
    source = ("region", "style_id", "style_region", "pinned")
    changed = [
        (tuple(old[n] for n in source), tuple(new[n] for n in source))
        for old, new in zip(before, after, strict=True)
        if any(old[n] != new[n] for n in source)
    ]
    assert [new for _, new in changed] == [(0, edited["style_id"], 0, True)]


def test_an_unknown_result_is_refused(make_spec: MakeSpec) -> None:
    spec = make_spec(products=1)
    plan, _, _ = run(spec)
    with pytest.raises(FileMissing, match="no finished result of hat, view main in gallery ink;"):
        list(explain(spec.output, plan.run_id, "hat", gallery_id="ink"))
