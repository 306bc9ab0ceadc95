"""A preview samples valid rows, and shows which galleries cannot be used."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.flows import PreviewSpec
from tasks import planning
from tasks.manifests.sample import preview_spec
from tests.tasks.conftest import MakeSpec, write_catalog


def test_invalid_rows_are_not_sampled(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(products=3)
    write_catalog(tmp_path / "in", 3, image_uri=["p0.png", "ftp://x/p1.png", "p2.png"])
    (uri,) = spec.galleries
    table = pq.read_table(uri).to_pydict()
    pq.write_table(pa.table({**table, "weight": ["1", "heavy", "1"]}), uri)
    given = {name: getattr(spec, name) for name in type(spec).model_fields}
    plan = planning.make_plan(preview_spec(PreviewSpec(**given, products=5)))
    assert [(i.product_id, i.gallery_id, bool(i.problem)) for i in plan.items] == [
        ("p0", "rocket", False),
        ("p2", "rocket", False),
        ("p0", "coffee", True),
        ("p2", "coffee", True),
    ]
