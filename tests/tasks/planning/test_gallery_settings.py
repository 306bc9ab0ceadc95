"""Galleries with a method of their own in a run of another method."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.gallery_params import gallery_params
from schemas.params import StyleParams
from schemas.run import RestyleSpec
from schemas.work import ItemIds
from tasks import planning
from tasks.records.plan_parts import RunPlan
from tests.tasks.conftest import PARAMS, MakeSpec


def with_methods(spec: RestyleSpec, *methods: str | None) -> RestyleSpec:
    """Write the column `method` of the three references into the galleries of a spec."""
    (uri,) = spec.galleries
    table = pq.read_table(uri).to_pydict()
    pq.write_table(pa.table({**table, "method": list(methods)}), uri)
    return spec


def ids(plan: planning.Plan, gallery: str) -> list[str]:
    return [item.item_id for item in plan.items if item.gallery_id == gallery]


def test_galleries_without_a_method_keep_their_items(make_spec: MakeSpec) -> None:
    plain = planning.make_plan(make_spec())
    before = plain.items.checksum()
    mixed = planning.make_plan(with_methods(make_spec(), "styleid", None, None))
    assert ids(mixed, "rocket") == ids(plain, "rocket")
    assert set(ids(mixed, "coffee")).isdisjoint(ids(plain, "coffee"))
    assert mixed.run_id != plain.run_id
    same = planning.make_plan(with_methods(make_spec(), PARAMS.method, None, None))
    assert ids(same, "coffee") == ids(plain, "coffee")
    empty = planning.make_plan(with_methods(make_spec(), None, None, None))
    assert empty.items.checksum() == before


def test_ids_are_those_of_the_method(make_spec: MakeSpec) -> None:
    """A run of that method makes the same items."""
    mixed = planning.make_plan(with_methods(make_spec(), "styleid", None, None))
    usual = StyleParams(method=PARAMS.method).flat()
    changed = {name: value for name, value in PARAMS.flat().items() if value != usual[name]}
    alone = planning.make_plan(make_spec(params=StyleParams(**{**changed, "method": "styleid"})))
    assert ids(mixed, "coffee") == ids(alone, "coffee")


def test_the_plan_holds_the_method(make_spec: MakeSpec) -> None:
    plan = planning.make_plan(with_methods(make_spec(), None, "styleid", None))
    assert plan.items.own_settings() == {"method styleid": ["coffee"]}
    planning.write_plan(plan)
    stored = RunPlan(plan.files)
    for name, _ in plan.items.parts():
        for item in stored.items(stored.part(name)):
            assert item.method == ("styleid" if item.gallery_id == "coffee" else None)
            assert item.preset is None


def test_a_method_that_does_not_exist_rejects_its_gallery(make_spec: MakeSpec) -> None:
    plan = planning.make_plan(with_methods(make_spec(), "oil", None, None))
    assert plan.counts.rejected == plan.counts.todo == 3
    (problem,) = plan.items.problems
    assert problem.startswith("the settings of its gallery cannot be used: ")
    assert "column `method`, row 1: 'oil' does not exist; use 'stylegallery', " in problem


def test_settings_of_older_plans_are_the_runs(make_spec: MakeSpec) -> None:
    plan = planning.make_plan(make_spec())
    planning.write_plan(plan)
    (part,) = Path(plan.files.plan_styles.uri).glob("*.parquet")
    assert not {"method", "preset"} & set(pq.read_schema(part).names)
    items = [item for item in plan.items if item.gallery_id == "coffee"]
    old = ItemIds(
        styles=items[0].styles,
        params=PARAMS,
        engine_fingerprint=plan.engine_fingerprint,
        image_format="png",
    )
    assert items[0].item_id == old.of(image_version=items[0].image_version)


def test_a_gallery_that_learns_is_learnt_in_a_run_that_does_not(make_spec: MakeSpec) -> None:
    plan = planning.make_plan(with_methods(make_spec(), "sms", None, None))
    assert [source.gallery_id for source in plan.to_learn] == ["coffee"]
    assert plan.learning_base
    alone = planning.make_plan(make_spec(params=gallery_params(PARAMS, "sms", None)))
    assert {plan.to_learn[0].key} < {source.key for source in alone.to_learn}
    assert not planning.make_plan(make_spec()).learning_base


def test_the_estimate_is_the_mean_of_the_galleries(make_spec: MakeSpec) -> None:
    slow = PARAMS.model_copy(update={"steps": 100})
    plain = planning.make_plan(make_spec(params=slow)).estimate.seconds_per_item
    spec = make_spec(params=slow)
    fast = gallery_params(slow, "sms", None).model_copy(update={"passes": 2})
    quick = planning.make_plan(make_spec(params=fast)).estimate.seconds_per_item
    assert quick < plain
    (uri,) = spec.galleries
    table = pq.read_table(uri)
    pq.write_table(table.append_column("preset", pa.array([None, None, "catalog"])), uri)
    mixed = planning.make_plan(spec).estimate.seconds_per_item
    assert mixed == (plain + quick) / 2
