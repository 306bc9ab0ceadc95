"""Compare learnt styles with the method that learns nothing, on a few photos of each gallery.

A comparison never changes how an item is made: the same item has the same id and pixels in every
run. It warns, or ends the items of a gallery.
"""

import hashlib
import heapq
import logging
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from schemas.methods import method_info
from schemas.presets import preset_params
from schemas.students import COMPARED, StudentRow
from schemas.work import WorkItem
from tasks.execution.engine_context import shared_context
from tasks.messages import ActorSetup, Assignment
from tasks.planning import Plan
from tasks.planning.learning import params_of
from tasks.records import parquet
from tasks.records.plan_parts import work_items
from tasks.records.students import read_students

if TYPE_CHECKING:
    from stylegallery.images.picture import Picture
    from stylegallery.metrics.item import MetricSuite
    from tasks.cluster.session import Layout
    from tasks.items.context import ActorContext

logger = logging.getLogger(__name__)

_PHOTOS: Final = 4


def galleries_to_check(plan: Plan) -> dict[str, list[WorkItem]]:
    """Return the galleries with items left and no comparison yet, and the photos to compare.

    The photos with the smallest hashes are chosen, so equal catalogs give equal choices.

    Raises:
        StorageError: the run's table cannot be read.
    """
    if not plan.spec.checks_students or not plan.counts.todo:
        return {}
    checked = {row.gallery_id for row in read_students(plan.files)}
    found: dict[str, list[WorkItem]] = {}
    offset = 0
    for _, part in plan.items.parts():
        left = not plan.completed.done[offset : offset + len(part)].all()
        offset += len(part)
        gallery_id = part["gallery_id"][0].as_py()  # a part holds items of one gallery
        params = params_of(plan.items.styles[gallery_id], plan.spec.params)
        if left and method_info(params.method).learns and gallery_id not in checked:
            some = [*found.get(gallery_id, []), *_chosen(plan, part)]
            found[gallery_id] = heapq.nsmallest(_PHOTOS, some, _order)
    return found


def _chosen(plan: Plan, part: pa.Table) -> list[WorkItem]:
    versions = part["image_version"].to_pylist()
    places = {version: place for place, version in enumerate(versions)}  # each photo once
    few = heapq.nsmallest(_PHOTOS, places, _hash)
    table = part.take(pa.array(sorted(places[version] for version in few)))
    return work_items(table, plan.items.styles)


def _order(item: WorkItem) -> bytes:
    return _hash(item.image_version)


def _hash(version: str) -> bytes:
    return hashlib.sha256(version.encode()).digest()


def check_students(
    plan: Plan,
    photos: dict[str, list[WorkItem]],
    setup: ActorSetup,
    layout: "Layout",
    on_checked: Callable[[int], None],
) -> None:
    """Compare galleries in Ray tasks, and add their rows to the run's table.

    A gallery that cannot be compared is logged and stays without a row.

    Args:
        plan: The plan.
        photos: From :func:`galleries_to_check`.
        setup: The engine and the output.
        layout: Layout of the connected cluster.
        on_checked: Called with the number of compared galleries.

    Raises:
        StorageError: the table cannot be written.
    """
    from tasks.cluster.parallel import map_unordered

    names, rows = list(photos), read_students(plan.files)
    tasks = [(photos[name], setup) for name in names]
    outcomes = map_unordered(_compare, tasks, layout, engines=True)
    for done, (number, outcome) in enumerate(outcomes, 1):
        if isinstance(outcome, Exception):
            logger.warning("gallery %s was not compared: %s", names[number], outcome)
        else:
            rows += outcome
        on_checked(done)
    rows.sort(key=lambda row: (row.gallery_id, row.product_id, row.view))
    parquet.write_rows(plan.files.students, rows, StudentRow)


def _compare(task: tuple[list[WorkItem], ActorSetup]) -> list[StudentRow]:
    """Restyle some photos of a gallery in both ways; those that fail have no row."""
    items, setup = task
    return [row for item in items for row in _row(setup, item)]


def _row(setup: ActorSetup, item: WorkItem) -> Iterator[StudentRow]:
    from tasks.items.inputs import load_content, load_style

    student, teacher, suite = shared_context(setup), _teacher(setup), _suite()
    usual = {"method": None, "preset": None}  # the teacher's, whatever the gallery names
    styles = [style.model_copy(update=usual) for style in item.styles]
    plain = item.model_copy(update={"styles": styles})
    made = {"student": _restyled(student, item), "teacher": _restyled(teacher, plain)}
    photo = load_content(student, item).image.picture.pixels
    references = [
        suite.reference_features(
            load_style(student, style, item.gallery_id).image.picture.pixels, style.weight
        )
        for style in item.styles
    ]
    values: dict[str, float] = {}
    for who, picture in made.items():
        if picture is None:
            return
        scores = suite.score(picture.pixels, photo, references, []).metrics
        if not scores.keys() >= set(COMPARED):
            return
        values |= {f"{who}_{name}": scores[name] for name in COMPARED}
    keys = item.model_dump(include={"gallery_id", "product_id", "view"})
    yield StudentRow.model_validate({**keys, **values})


def _restyled(context: "ActorContext", item: WorkItem) -> "Picture | None":
    """Return an item's picture, without writing an asset; None if it has none."""
    from tasks.items.item import restyle_items

    (pending,) = restyle_items(context, [Assignment(item)])
    if pending.latent is None:
        return None
    return context.engine.decode(pending.latent, pending.params).picture


@lru_cache(1)
def _teacher(setup: ActorSetup) -> "ActorContext":
    """Return the context of the teacher, which shares the engine of the student's."""
    from tasks.items.context import ActorContext

    student = shared_context(setup)
    params = preset_params("preview", image_size=setup.params.image_size)
    return ActorContext(student.engine, setup.output, params, fingerprint=setup.engine_fingerprint)


@lru_cache(1)
def _suite() -> "MetricSuite":
    from stylegallery.metrics.item import MetricSuite

    return MetricSuite()
