"""Which styles a plan counts as still to be learnt."""

import dataclasses
from pathlib import Path

import pytest

from schemas.methods import METHODS
from schemas.params import StyleParams
from schemas.run import PlanCounts, RestyleSpec
from schemas.work import StyleSource
from tasks import planning
from tasks.planning import learning
from tasks.planning import plan as plan_module
from tasks.planning.estimate import estimate
from tasks.planning.learning import adapter_sources, not_learnt
from tasks.planning.resume import CompletedItems
from tasks.records.learnt_files import LearningFailure, adapter_file, failure_file, write_failure
from tasks.records.plan_parts import PlanItems
from tests.tasks.conftest import MakeSpec
from tests.tasks.galleries import LEARNING, write_learnable
from tests.tasks.places import at


def style(name: str, **changes: object) -> StyleSource:
    values = {"style_id": name, "image_uri": f"{name}.png", "image_version": f"v-{name}"}
    return StyleSource.model_validate({**values, **changes})


def keys(*styles: StyleSource, params: StyleParams = LEARNING, gallery: str = "g") -> list[str]:
    return [source.key for source in adapter_sources(styles, gallery, params, "model")]


def test_one_adapter_a_gallery_whatever_its_names_and_order() -> None:
    (key,) = keys(style("a"), style("b"))
    renamed = style("c", image_version="v-a", image_uri="x.png", license="CC0")
    assert keys(style("b"), renamed, gallery="h") == [key]
    assert keys(style("a", mask_uri="m.png", mask_version="m"), style("b")) == [key]  # not read
    assert keys(style("a", weight=2.0), style("b")) != [key]
    assert keys(style("a"), style("c")) != [key]
    assert keys(style("a"), params=StyleParams()) == []


def test_one_adapter_a_reference_shared_by_galleries(monkeypatch: pytest.MonkeyPatch) -> None:
    single = dataclasses.replace(METHODS["sms"], learns="reference")
    monkeypatch.setattr(learning, "method_info", lambda _: single)
    first, second = keys(style("a"), style("b"))
    assert keys(style("b", weight=3.0), gallery="h") == [second]
    names = [s.name for s in adapter_sources([style("a"), style("b")], "g", LEARNING, "model")]
    assert names == ["g/a", "g/b"]
    assert first != second


def test_a_gallery_may_name_a_method_that_learns() -> None:
    run = StyleParams(image_size=64)
    taught = style("a", preset="catalog")
    assert keys(style("a"), params=run) == []
    assert keys(taught, params=run) == keys(
        style("a"), params=StyleParams(method="sms", image_size=64)
    )
    assert keys(style("a", method="styleid"), params=LEARNING) == []


def test_stored_and_rejected_styles_are_not_learnt_again(tmp_path: Path) -> None:
    made = [adapter_sources([style(name)], "g", LEARNING, "model")[0] for name in "abcd"]
    output = at(tmp_path)
    adapter_file(output, made[0].key).write_bytes(b"its content is checked on reading")
    for source, rejected in ((made[1], True), (made[2], False)):
        failure = LearningFailure.of(ValueError("why"), "run-1", rejected=rejected)
        write_failure(output, source.key, failure)
    assert not_learnt([*made, *made], output) == made[2:]
    failure_file(output, made[1].key).write_bytes(b"{damaged")
    assert not_learnt(made, output) == made[1:]


@pytest.fixture
def spec(make_spec: MakeSpec, tmp_path: Path) -> RestyleSpec:
    made = make_spec(products=2, params=LEARNING)
    write_learnable(tmp_path / "in", {"one": ["cup", "table"], "same": ["cup", "table"]})
    return made


def test_a_plan_counts_styles_and_estimates_them(spec: RestyleSpec) -> None:
    plan = planning.make_plan(spec)
    assert (plan.counts.to_learn, plan.counts.galleries) == (1, 2)
    assert [source.name for source in plan.to_learn] == ["one"]
    adapter_file(plan.files.output, plan.to_learn[0].key).write_bytes(b"learnt")
    learnt = planning.make_plan(spec)
    assert learnt.counts.to_learn == 0
    assert learnt.estimate.seconds < plan.estimate.seconds
    assert learnt.run_id == plan.run_id


def test_only_galleries_with_items_left_need_a_style(
    spec: RestyleSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_done(_: object, items: PlanItems, **__: object) -> CompletedItems:
        return CompletedItems.all_done(len(items))

    with monkeypatch.context() as patch:
        patch.setattr(plan_module, "find_completed", all_done)
        assert planning.make_plan(spec).to_learn == []
    spec = spec.model_copy(update={"limit": 1})  # the first photo in the first gallery
    assert [source.name for source in planning.make_plan(spec).to_learn] == ["one"]
    plain = spec.model_copy(update={"params": StyleParams(image_size=64)})
    plan = planning.make_plan(plain)
    assert (plan.to_learn, plan.learning_base) == ([], "")


def test_passes_and_learning_are_estimated_by_their_steps(spec: RestyleSpec) -> None:
    def seconds(params: StyleParams, **counts: int) -> float:
        changed = spec.model_copy(update={"params": params})
        return estimate(PlanCounts(**counts), changed, [params], "cpu", []).seconds

    one, two = (StyleParams(method="sms", passes=passes) for passes in (1, 2))
    assert seconds(two, todo=4) == 2 * seconds(one, todo=4)
    longer = StyleParams(method="sms", passes=1, adapter_steps=400)
    assert seconds(longer, to_learn=3) == pytest.approx(2 * seconds(one, to_learn=3))
    assert seconds(one, todo=1, to_learn=1) == seconds(one, todo=1) + seconds(one, to_learn=1)
