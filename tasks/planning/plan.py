"""Plan a run: list its items, find the completed ones, estimate the cost of the rest.

:func:`make_plan` writes nothing and imports neither torch nor Ray, so `stylegallery plan` answers
in seconds.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.methods import method_info
from schemas.params import StyleParams
from schemas.run import PlanCounts, RestyleSpec, RunRecord, RunSummary
from schemas.work import SCHEMA_VERSION
from stylegallery.models.availability import check_available, check_text
from stylegallery.models.fingerprint import engine_fingerprint, learning_fingerprint
from tasks import storage
from tasks.errors import FileMissing, PlanError, RecordError
from tasks.manifests import reader
from tasks.manifests.gallery import check_settings
from tasks.planning.estimate import Estimate, estimate
from tasks.planning.expand import expand
from tasks.planning.learning import AdapterSource, adapter_sources, not_learnt, params_of
from tasks.planning.resume import CompletedItems, find_completed
from tasks.planning.versions import device_class, package_versions
from tasks.records.layout import RunFiles
from tasks.records.plan_parts import PlanItems
from tasks.records.run_record import read_record, write_record
from tasks.records.success import read_success

_RUN_ID_DIGITS = 12


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        spec: The parameters, URIs made absolute.
        files: Paths of the run's files.
        engine_fingerprint: Hash of everything about the engine that may change pixels.
        items: Every item of the run, grouped by gallery.
        completed: Which items earlier attempts and runs have completed.
        summary: Summary of the finished run if nothing is left to do; else None.
        counts: Numbers of items, products, galleries and styles.
        to_learn: What styles are to be learnt from before the items left to do.
        learning_base: What keys of learnt styles hold of the engine; empty if the method does not
            learn.
        estimate: Expected cost of the styles to learn and the items left to do.
        made_at: When the completed items were looked up, UTC.
    """

    spec: RestyleSpec
    files: RunFiles
    engine_fingerprint: str
    items: PlanItems
    completed: CompletedItems
    summary: RunSummary | None
    counts: PlanCounts
    to_learn: list[AdapterSource]
    learning_base: str
    estimate: Estimate
    made_at: datetime

    @property
    def run_id(self) -> str:
        """Id of the run: the same command with the same inputs gives the same id."""
        return self.files.run_id


def make_plan(spec: RestyleSpec) -> Plan:
    """List every item of a run and find the completed ones. Nothing is written.

    Raises:
        ManifestError: a manifest breaks a rule.
        ModelNotFound: the engines run on this machine, which lacks a model.
        PlanError: the parameters contradict each other, or no item is selected.
        RecordError: a table of an earlier run is damaged.
        StorageError: manifests or images cannot be reached.
        UnsupportedModel: there is text, and the model takes none.
    """
    spec = _absolute(spec)
    photos, every, galleries = _inputs(spec)
    fingerprint = engine_fingerprint(spec.engine, device_class(spec))
    items = PlanItems(list(galleries))
    if spec.strict:
        photos = reader.check_gallery_names(photos, every)
    products = expand(items, photos, galleries, every, spec, fingerprint)
    if not items:
        raise PlanError(
            "no photo of the catalog is assigned to any selected gallery; check `gallery_ids` "
            "and the column `galleries` of the catalog"
        )
    output = storage.StoragePath.parse(spec.output)
    files = RunFiles(output, _run_id(spec, fingerprint, items))
    made_at = datetime.now(UTC)
    summary = None
    if not spec.check_assets:
        summary = read_success(files, spec, items)
    if summary:
        completed = CompletedItems.all_done(len(items))
    else:
        completed = find_completed(files, items, check_assets=spec.check_assets)
    base, to_learn = "", list[AdapterSource]()
    own = [params_of(styles, spec.params) for styles in items.styles.values()]
    if any(method_info(params.method).learns for params in own):
        base = learning_fingerprint(spec.engine, device_class(spec))
        to_learn = not_learnt(_needed(items, completed, spec.params, base), output)
    done = int(completed.done.sum())
    counts = PlanCounts(
        items=len(items),
        done=done - items.rejected,
        todo=len(items) - done,
        rejected=items.rejected,
        to_learn=len(to_learn),
        products=products,
        galleries=len(galleries),
        styles=sum(len(gallery.rows) for gallery in galleries.values()),
    )
    cost = estimate(counts, spec, own, device_class(spec), completed.samples)
    return Plan(
        spec=spec,
        files=files,
        engine_fingerprint=fingerprint,
        items=items,
        completed=completed,
        summary=summary,
        counts=counts,
        to_learn=to_learn,
        learning_base=base,
        estimate=cost,
        made_at=made_at,
    )


def _needed(
    items: PlanItems, completed: CompletedItems, params: StyleParams, base: str
) -> Iterator[AdapterSource]:
    """Yield what the adapters of the items left to do are learnt from, gallery by gallery."""
    offset = 0
    for _, part in items.parts():
        here = slice(offset, offset + len(part))
        offset += len(part)
        if not completed.done[here].all():
            gallery_id = part["gallery_id"][0].as_py()  # a part holds items of one gallery
            yield from adapter_sources(items.styles[gallery_id], gallery_id, params, base)


def check_inputs(spec: RestyleSpec) -> None:
    """Check that a plan can be made. Quick: reads the galleries and the catalog's first rows only.

    Raises:
        ManifestError: a manifest is missing, is not a manifest, or breaks a rule.
        ModelNotFound: the engines run on this machine, which lacks a model.
        StorageError: a manifest cannot be reached.
        UnsupportedModel: there is text, and the model takes none.
    """
    photos, _, _ = _inputs(_absolute(spec))
    next(photos, None)


def _inputs(
    spec: RestyleSpec,
) -> tuple[Iterator[reader.Photo], reader.Galleries, reader.Galleries]:
    """Return the photos, all galleries of the manifests, and the selected galleries."""
    if spec.pool.ray_address == "local":  # the nodes of a cluster may have models that we lack
        check_available(spec.engine)
        check_text(spec.engine, spec.params.prompts)
    source = ", ".join(spec.galleries)
    catalog = reader.read_catalog(spec.catalog, strict=spec.strict)
    every = reader.read_galleries(spec.galleries, strict=spec.strict)
    check_settings(every.values(), spec.params, strict=spec.strict)
    galleries = reader.select_galleries(every, spec.gallery_ids, source)
    if spec.require_license:
        reader.check_licenses(galleries, source, datetime.now(UTC).date())
    return catalog, every, galleries


def write_plan(plan: Plan, conditional_writes: bool | None = None) -> None:
    """Write the plan's tables and run.json; delete an earlier `_SUCCESS` if items are left to do.

    Args:
        plan: The plan.
        conditional_writes: Whether the output's store supports conditional writes, if known; goes
            into run.json.

    Raises:
        StorageError: the output cannot be written.
    """
    if plan.counts.todo:
        plan.files.success.delete()
    plan.items.write(plan.files)
    record = RunRecord(
        run_id=plan.run_id,
        schema_version=SCHEMA_VERSION,
        spec=plan.spec,
        versions=package_versions(),
        engine_fingerprint=plan.engine_fingerprint,
        counts=plan.counts,
        state="running",
        conditional_writes=conditional_writes,
        started_at=_first_start(plan) or datetime.now(UTC),
    )
    write_record(plan.files, record)


def _absolute(spec: RestyleSpec) -> RestyleSpec:
    return spec.model_copy(
        update={
            "catalog": storage.absolute(spec.catalog),
            "galleries": [storage.absolute(uri) for uri in spec.galleries],
            "output": storage.folder_uri(spec.output),
        }
    )


def _run_id(spec: RestyleSpec, fingerprint: str, items: PlanItems) -> str:
    settings = {
        "params": spec.params.hashed(),
        "engine": fingerprint,
        "format": spec.image_format,
        "quality": spec.quality,
        "limit": spec.limit,
        "items": items.digest(),
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    return f"run-{digest.hexdigest()[:_RUN_ID_DIGITS]}"


def _first_start(plan: Plan) -> datetime | None:
    try:
        return read_record(plan.files).started_at
    except (FileMissing, RecordError):
        return None
