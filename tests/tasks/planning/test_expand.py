"""Items of invalid rows are planned as rejected, with ids of their own."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.result import ItemResult
from schemas.run import RestyleSpec
from tasks import planning
from tasks.errors import ManifestError, PlanError
from tasks.execution import execute
from tasks.planning import Plan
from tasks.records import parquet
from tasks.results import finalize
from tasks.results.verify import verify
from tests.tasks.conftest import MakeSpec, write_catalog


def planned(make_spec: MakeSpec, folder: Path, products: int = 3, **columns: Any) -> Plan:
    """Plan a catalog with some columns changed."""
    spec = make_spec(products=products)
    write_catalog(folder / "in", products, **columns)
    return planning.make_plan(spec)


def rejected(plan: Plan) -> list[tuple[str, str, str]]:
    return [(i.product_id, i.gallery_id, i.problem) for i in plan.items if i.problem]


def edit_galleries(spec: RestyleSpec, **columns: Any) -> None:
    (uri,) = spec.galleries
    table = pq.read_table(uri).to_pydict()
    pq.write_table(pa.table({**table, **columns}), uri)


def test_an_unusable_row_is_rejected_in_its_galleries(make_spec: MakeSpec, tmp_path: Path) -> None:
    uris = ["p0.png", "ftp://x/p1.png", "gopher://x/p2.png"]
    plan = planned(make_spec, tmp_path, image_uri=uris, galleries=[None, None, ["rocket"]])
    assert [(name, gallery) for name, gallery, _ in rejected(plan)] == [
        ("p1", "coffee"),
        ("p1", "rocket"),
        ("p2", "rocket"),
    ]
    counts = plan.counts
    assert (counts.items, counts.todo, counts.done, counts.rejected) == (5, 2, 0, 3)
    assert counts.products == 3
    assert [("row 2" in text, "row 3" in text) for text in plan.items.problems] == [
        (True, False),
        (False, True),
    ]
    again = planned(make_spec, tmp_path, image_uri=uris, galleries=[None, None, ["rocket"]])
    assert again.run_id == plan.run_id
    assert [i.item_id for i in again.items] == [i.item_id for i in plan.items]


def test_the_second_of_two_equal_rows_is_rejected(make_spec: MakeSpec, tmp_path: Path) -> None:
    plan = planned(make_spec, tmp_path, product_id=["a", "a", "a"])
    assert [name for name, *_ in rejected(plan)] == ["a"] * 4
    ids = [item.item_id for item in plan.items]
    assert len({(item.item_id, item.gallery_id) for item in plan.items}) == len(ids) == 6


def test_an_unknown_gallery_is_rejected_and_the_known_one_done(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    galleries = [["rocket", "cofee"], ["\x1b[31m"], None]
    plan = planned(make_spec, tmp_path, galleries=galleries)
    found = [(product, gallery) for product, gallery, _ in rejected(plan)]
    assert found == [("p0", "cofee"), ("p1", "\N{REPLACEMENT CHARACTER}[31m")]
    assert "`galleries`, row 1: names gallery 'cofee', which is in no" in rejected(plan)[0][2]
    assert plan.counts.todo == 3
    # The misspelt name may mean a selected gallery.
    narrow = planning.make_plan(plan.spec.model_copy(update={"gallery_ids": ["coffee"]}))
    assert [(i.product_id, i.gallery_id) for i in narrow.items] == [("p2", "coffee"), *found]


def test_a_gallery_with_an_unusable_reference_is_rejected(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(products=2)
    good = planning.make_plan(spec)
    edit_galleries(spec, weight=["1", "heavy", "1"])
    plan = planning.make_plan(spec)
    assert [(name, gallery) for name, gallery, _ in rejected(plan)] == [
        ("p0", "coffee"),
        ("p1", "coffee"),
    ]
    assert "gallery cannot be used: " in rejected(plan)[0][2]
    assert "column `weight`, row 2: 'heavy' is not a number" in rejected(plan)[0][2]
    kept = {i.item_id for i in good.items if i.gallery_id == "rocket"}
    assert kept == {i.item_id for i in plan.items if not i.problem}
    assert plan.run_id != good.run_id
    with pytest.raises(ManifestError, match="row 2: 'heavy' is not a number"):
        planning.make_plan(spec.model_copy(update={"gallery_ids": ["coffee"]}))


@pytest.mark.parametrize(
    "columns",
    [{"image_uri": ["p0.png", "ftp://x"]}, {"galleries": [["rocket"], ["x"]]}, {"seed": [1, -1]}],
)
def test_a_strict_run_is_refused(
    make_spec: MakeSpec, tmp_path: Path, columns: dict[str, Any]
) -> None:
    plan = planned(make_spec, tmp_path, products=2, **columns)
    assert plan.counts.rejected
    with pytest.raises(ManifestError, match="row 2"):
        planning.make_plan(plan.spec.model_copy(update={"strict": True}))


def test_a_strict_run_is_refused_for_a_reference(make_spec: MakeSpec) -> None:
    spec = make_spec(strict=True)
    edit_galleries(spec, weight=[1, -1, 1])
    with pytest.raises(ManifestError, match="`weight`, row 2"):
        planning.make_plan(spec)


def test_a_limit_counts_rejected_items(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = planned(make_spec, tmp_path, product_id=["p0", "..", "p2"]).spec
    plan = planning.make_plan(spec.model_copy(update={"limit": 3}))
    assert [(i.product_id, i.gallery_id) for i in plan.items] == [
        ("p0", "coffee"),
        ("p0", "rocket"),
        ("'..'", "coffee"),
    ]


def test_a_run_with_only_rejected_items_ends(make_spec: MakeSpec, tmp_path: Path) -> None:
    """Needs neither Ray nor an engine; the same command again does nothing."""
    uris = ["p0.png", "ftp://x/p1.png"]
    columns = {"image_uri": uris, "galleries": [["rocket"], None], "season": ["x", "y"]}
    spec = planned(make_spec, tmp_path, products=2, **columns).spec
    plan = planning.make_plan(spec.model_copy(update={"gallery_ids": ["coffee"]}))
    assert (plan.counts.items, plan.counts.todo, plan.counts.rejected) == (1, 0, 1)
    planning.write_plan(plan)
    heard: list[Any] = []
    execute.execute(plan, heard.append)
    assert (heard[-1].done, heard[-1].total, heard[-1].rejected) == (1, 1, 1)
    summary = finalize.finalize(plan.spec, plan.run_id, plan)
    assert (summary.ok, summary.rejected, summary.failed) == (0, 1, 0)
    (row,) = parquet.read_rows(plan.files.results / "part-00001-00000.parquet", ItemResult)
    assert (row.status, row.product_id, row.gallery_id) == ("rejected", "p1", "coffee")
    assert row.extra == {"season": "y"}
    assert row.error is not None
    assert row.error.stage == "plan"
    assert "column `image_uri`, row 2: ftp://x/p1.png" in row.error.message
    proof = verify(plan.spec.output, plan.run_id)
    assert proof.ok, proof.problems
    for check_assets in (False, True):
        again = planning.make_plan(plan.spec.model_copy(update={"check_assets": check_assets}))
        assert (again.run_id, again.counts.todo) == (plan.run_id, 0)


def test_an_empty_selection_is_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = planned(make_spec, tmp_path, products=2, galleries=[["rocket"], ["rocket"]]).spec
    with pytest.raises(PlanError, match="check `gallery_ids`"):
        planning.make_plan(spec.model_copy(update={"gallery_ids": ["coffee"]}))
