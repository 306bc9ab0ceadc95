"""Item ids change exactly when the picture changes; rows merge in any order."""

import itertools
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from unittest import mock

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.manifest import CatalogRow, GalleryRow
from schemas.methods import method_info
from schemas.params import GROUP_OF, GROUP_OF_METHOD, LATER, SETTINGS, StyleParams
from schemas.result import ErrorInfo, ItemResult
from schemas.run import PoolSpec, RestyleSpec
from tasks.manifests.reader import Gallery, Photo
from tasks.planning.expand import expand
from tasks.records import parquet
from tasks.records.index import key_hashes
from tasks.records.item_key import key_of
from tasks.records.ledger import read_ledger
from tasks.records.plan_parts import PlanItems
from tests.tasks.places import files_of

QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
BASES = [
    StyleParams(),
    StyleParams(sampler="optimise"),
    StyleParams(method="styleid"),
    StyleParams(method="sms"),
    StyleParams(method="contrastive-lora"),
]
OWN = ("mask", "protect", "routing")
"""Optional files of a photo."""

World = dict[str, Any]
"""All that a run is made of, by name: see `item_id`."""

texts = st.text("abc", min_size=1, max_size=3)
numbers = st.floats(0.01, 100)
references = st.fixed_dictionaries(
    {"version": texts, "weight": numbers, "mask": st.none() | texts, "uri": texts, "terms": texts}
)
worlds = st.fixed_dictionaries(
    {
        "photo": texts,
        "seed": st.none() | st.integers(0, 2**63 - 1),
        **{name: st.none() | texts for name in OWN},
        "styles": st.dictionaries(texts, references, min_size=1, max_size=3),
        "params": st.sampled_from(BASES),
        "engine": texts,
        "format": st.sampled_from(("png", "webp", "jpg")),
        "quality": st.integers(0, 100),
        # from here on: what the picture does not depend on
        "product": texts,
        "view": texts,
        "gallery": texts,
        "uri": texts,
        "output": texts,
        "require_license": st.booleans(),
        "extra": st.dictionaries(texts, texts),
        "pool": st.builds(
            PoolSpec,
            actors=st.integers(0, 9),
            batch=st.integers(0, 9),
            chunk_size=st.integers(1, 9),
        ),
    }
)


def item_id(world: World) -> str:
    """Plan the one item of a run, and return its id."""
    held: dict[str, str] = {}

    def put(kind: str, uri: str, version: str | None) -> str | None:
        """Lay bytes of a version at a URI."""
        if version is None:
            return None
        held[f"/{kind}/{uri}"] = f"sha256:{version}"
        return f"/{kind}/{uri}"

    rows = [
        GalleryRow(
            gallery_id=world["gallery"],
            style_id=name,
            image_uri=put(f"style-{name}", style["uri"], style["version"]),
            weight=style["weight"],
            mask_uri=put(f"style-mask-{name}", style["uri"], style["mask"]),
            license=style["terms"],
            attribution=style["terms"],
        )
        for name, style in sorted(world["styles"].items())
    ]
    photo = CatalogRow(
        product_id=world["product"],
        view=world["view"],
        image_uri=put("photo", world["uri"], world["photo"]),
        seed=world["seed"],
        **{f"{name}_uri": put(name, world["uri"], world[name]) for name in OWN},
    )
    spec = RestyleSpec(
        catalog=f"/{world['uri']}/c",
        galleries=[f"/{world['uri']}/g"],
        output=f"/{world['output']}",
        image_format=world["format"],
        quality=world["quality"],
        require_license=world["require_license"],
        params=world["params"],
        pool=world["pool"],
    )
    galleries = {world["gallery"]: Gallery(rows)}
    items = mock.Mock(spec=PlanItems, styles={})
    with mock.patch(
        "tasks.planning.expand.source_versions", lambda uris: {u: held[u] for u in uris}
    ):
        photos = [Photo(1, photo, world["extra"])]
        expand(items, photos, galleries, galleries, spec, world["engine"])
    ((_, table),) = (call.args for call in items.add.call_args_list)
    return str(table["item_id"][0])


SAME = ("product", "view", "gallery", "uri", "output", "require_license", "extra", "pool")
CHANGES = ("photo", "seed", *OWN, "styles", "engine", "format", "quality")


@pytest.mark.parametrize("name", CHANGES)
@QUICK
@given(one=worlds, other=worlds)
def test_a_change_of_the_picture_changes_the_id(name: str, one: World, other: World) -> None:
    assume(_seen(name, one[name]) != _seen(name, other[name]))
    assert item_id(one) != item_id({**one, name: other[name]})


@pytest.mark.parametrize("name", SAME)
@QUICK
@given(one=worlds, other=worlds)
def test_other_changes_keep_the_id(name: str, one: World, other: World) -> None:
    assert item_id(one) == item_id({**one, name: other[name]})


@QUICK
@given(one=worlds, other=worlds)
def test_ids_are_equal_only_for_equal_inputs(one: World, other: World) -> None:
    alike = all(_seen(name, one[name]) == _seen(name, other[name]) for name in CHANGES)
    alike &= one["params"] == other["params"]
    assert (item_id(one) == item_id(other)) == alike
    moved = {name: {**style, "uri": "x", "terms": "y"} for name, style in one["styles"].items()}
    assert item_id({**one, "styles": moved}) == item_id(one)


@pytest.mark.parametrize("name", ["version", "weight", "mask"])
@QUICK
@given(world=worlds, other=references)
def test_each_field_of_a_reference_changes_the_id(name: str, world: World, other: World) -> None:
    first = min(world["styles"])
    style = world["styles"][first]
    assume(style[name] != other[name])
    styles = {**world["styles"], first: {**style, name: other[name]}}
    assert item_id(world) != item_id({**world, "styles": styles})


@pytest.mark.parametrize("name", SETTINGS)
@QUICK
@given(data=st.data(), base=st.sampled_from(BASES))
def test_each_parameter_changes_the_id(name: str, data: st.DataObject, base: StyleParams) -> None:
    value = data.draw(_values(name))
    try:
        other = StyleParams.model_validate({**base.flat(), name: value})
    except ValidationError:  # they do not go together
        assume(False)
    assume(other.flat()[name] != base.flat()[name])
    switches = {GROUP_OF[switch]: switch for switch in LATER}
    switch = switches.get(GROUP_OF.get(name, ""), name)
    # Settings of a part that is turned off change no picture.
    assume(switch == name or base.flat()[switch] != LATER[switch])
    assume(GROUP_OF.get(name) != "adapter" or method_info(other.method).learns)
    owners = [method for method, group in GROUP_OF_METHOD.items() if name in group.model_fields]
    assume(not owners or other.method in owners)
    world = {**WORLD, "params": base}
    assert item_id(world) != item_id({**world, "params": other})


WORLD: World = {
    "photo": "a",
    "seed": None,
    **dict.fromkeys(OWN),
    "styles": {"s": {"version": "v", "weight": 1.0, "mask": None, "uri": "u", "terms": "t"}},
    "engine": "e",
    "format": "png",
    "quality": 0,
    **dict.fromkeys(("product", "view", "gallery", "uri", "output"), "x"),
    "require_license": False,
    "extra": {},
    "pool": PoolSpec(),
}


def _seen(name: str, value: Any) -> Any:
    """Return what of a value a picture depends on."""
    if name != "styles":
        return value
    return [(n, s["version"], s["weight"], s["mask"]) for n, s in sorted(value.items())]


def _values(name: str) -> st.SearchStrategy[Any]:
    """Return values that a parameter may take."""
    info = SETTINGS[name]
    if get_origin(info.annotation) is Literal:
        return st.sampled_from(get_args(info.annotation))
    if info.annotation is bool:
        return st.booleans()
    if info.annotation is str:
        return texts
    bounds = {type(bound): bound for bound in info.metadata}
    low = bounds[Ge].ge if Ge in bounds else bounds[Gt].gt
    high = bounds[Le].le if Le in bounds else bounds[Lt].lt if Lt in bounds else 1000
    if info.annotation is int:
        return st.integers(int(low), int(high))
    return st.floats(low, high, exclude_min=Gt in bounds, exclude_max=Lt in bounds)


# --- Rows -----------------------------------------------------------------------------------------

statuses = st.sampled_from(("ok", "rejected", "failed"))
attempts = st.lists(st.tuples(st.integers(0, 4), statuses), max_size=12)
"""Which item ended, and how, in the order of time."""


def rows_of(ends: list[tuple[int, str]]) -> list[ItemResult]:
    return [
        ItemResult.model_validate(
            {
                "item_id": f"{item}" * 64,
                "product_id": f"p{item}",
                "view": "main",
                "gallery_id": "g",
                "status": status,
                "attempts": time + 1,
                "run_id": "run-1",
                "finished_at": datetime.fromtimestamp(time, UTC),
                "asset_bytes": time if status == "ok" else None,
                "error": None
                if status == "ok"
                else ErrorInfo(stage="prepare", type="E", message=f"at {time}"),
            }
        )
        for time, (item, status) in enumerate(ends)
    ]


def winners(rows: list[ItemResult]) -> dict[str, ItemResult]:
    """Return the row that counts for each product: an ok one if there is any, else the latest."""
    best: dict[str, ItemResult] = {}
    for row in rows:
        before = best.get(row.product_id)
        if before is None or before.status != "ok" or row.status == "ok":
            best[row.product_id] = row
    return best


@QUICK
@given(ends=attempts, cuts=st.sets(st.integers(0, 12)), order=st.randoms(use_true_random=False))
def test_parts_merge_to_the_same_rows(
    ends: list[tuple[int, str]],
    cuts: set[int],
    order: random.Random,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """However rows are split into parts, and in whichever order the parts come to be there."""
    output = tmp_path_factory.mktemp("out")
    rows = rows_of(ends)
    edges = sorted({0, *(cut for cut in cuts if cut < len(rows)), len(rows)})
    parts = [rows[low:high] for low, high in itertools.pairwise(edges)]
    numbered = list(enumerate(parts))
    order.shuffle(numbered)
    folder = files_of(output).ledger
    for number, part in numbered:
        parquet.write_rows(folder / f"part-{number:06d}.parquet", part, ItemResult)
    assert read_back(output) == winners(rows)


@QUICK
@given(ends=attempts, sides=st.lists(st.booleans(), min_size=12, max_size=12))
def test_rows_of_two_drivers_merge(
    ends: list[tuple[int, str]], sides: list[bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of an item with a good row the good row counts, however two drivers' rows are interleaved."""
    output = tmp_path_factory.mktemp("out")
    rows = rows_of(ends)
    mine = [row for row, side in zip(rows, sides, strict=False) if side]
    theirs = [row for row, side in zip(rows, sides, strict=False) if not side]
    folder = files_of(output).ledger
    for name, part in (("part-1", mine), ("part-2", theirs)):
        parquet.write_rows(folder / f"{name}.parquet", part, ItemResult)
    found = read_back(output)
    assert found == winners(mine + theirs)
    assert {n: r.status == "ok" for n, r in found.items()} == {
        n: r.status == "ok" for n, r in winners(rows).items()
    }


def read_back(output: Path) -> dict[str, ItemResult]:
    from schemas.arrow import from_table

    index = read_ledger(files_of(output))
    table = index.rows(index.in_order())
    assert (index.positions(key_hashes(table)) == index.in_order()).all()
    rows = from_table(table, ItemResult)
    assert len({key_of(row) for row in rows}) == len(rows) == len(index)
    return {row.product_id: row for row in rows}
