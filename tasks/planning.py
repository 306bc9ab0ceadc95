"""The plan of a run: every item asked for, what of it is done already, and what it will cost.

Planning writes nothing and imports neither torch nor Ray, so that `plan` answers in seconds.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.run import PlanCounts, RestyleSpec, RunRecord, RunSummary
from schemas.work import SCHEMA_VERSION
from stylegallery.availability import check_available
from stylegallery.fingerprint import engine_fingerprint
from tasks import manifests, storage
from tasks.errors import FileMissing, PlanError, RecordError
from tasks.estimate import Estimate, estimate
from tasks.expand import expand
from tasks.known import Known, look_up
from tasks.plan_items import PlanItems
from tasks.run_files import RunFiles
from tasks.run_record import read_record
from tasks.success_mark import closed
from tasks.versions import device_class, package_versions

__all__ = ["Plan", "check_inputs", "plan", "write_plan"]

_RUN_ID_DIGITS = 12


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        spec: The parameters, URIs made absolute.
        run_id: Same command on same inputs: same id.
        engine_fingerprint: Everything about the engine that may change pixels.
        items: Every item asked for, grouped by gallery.
        known: What earlier attempts and runs left of each.
        closed: Numbers of the run when it is over and nothing is left; None otherwise.
        counts: The plan in numbers.
        estimate: What is left will cost about this much.
        made_at: When the done items were looked up, UTC.
    """

    spec: RestyleSpec
    run_id: str
    engine_fingerprint: str
    items: PlanItems
    known: Known
    closed: RunSummary | None
    counts: PlanCounts
    estimate: Estimate
    made_at: datetime

    @property
    def files(self) -> RunFiles:
        """Where this run's files lie."""
        return RunFiles(self.spec.output, self.run_id)


def plan(spec: RestyleSpec) -> Plan:
    """List every item of a run and look up which are done; nothing is written.

    Raises:
        ManifestError: a manifest breaks a rule.
        ModelNotFound: the engines run here, and a model is not to be found here.
        PlanError: the parameters contradict each other, or nothing is asked for.
        RecordError: an earlier run left damaged tables.
        StorageError: manifests or images cannot be reached.
    """
    spec = _absolute(spec)
    catalog, every, galleries = _inputs(spec)
    fingerprint = engine_fingerprint(spec.engine, device_class(spec))
    items = PlanItems(list(galleries))
    photos = _Counted(manifests.check_routes(catalog, every) if spec.strict else catalog)
    expand(items, photos, galleries, every, spec, fingerprint)
    for _ in photos:  # what a limit leaves out is checked and counted as well
        pass
    if not items:
        raise PlanError("no photo of the catalog goes with any gallery asked for; check `only`")
    run_id = _run_id(spec, fingerprint, items)
    made_at = datetime.now(UTC)
    summary = None
    if not spec.check_assets:
        summary = closed(RunFiles(spec.output, run_id), spec, items)
    if summary:
        known = Known.all_done(len(items))
    else:
        known = look_up(spec.output, run_id, items, check_assets=spec.check_assets)
    ended = int(known.done.sum())
    counts = PlanCounts(
        items=len(items),
        done=ended - items.rejected,
        todo=len(items) - ended,
        rejected=items.rejected,
        products=photos.count,
        galleries=len(galleries),
        styles=sum(len(gallery.rows) for gallery in galleries.values()),
    )
    cost = estimate(counts.todo, spec, device_class(spec), known.samples)
    return Plan(spec, run_id, fingerprint, items, known, summary, counts, cost, made_at)


class _Counted:
    """Photos, counted as they pass by."""

    def __init__(self, photos: Iterable[manifests.Photo]) -> None:
        self._photos = iter(photos)
        self.count = 0

    def __iter__(self) -> Iterator[manifests.Photo]:
        for photo in self._photos:
            self.count += 1
            yield photo


def check_inputs(spec: RestyleSpec) -> None:
    """Refuse what no plan can be made of; quick, as it looks at the first row of the catalog alone.

    Raises:
        ManifestError: a manifest is missing, is none, or breaks a rule.
        ModelNotFound: the engines run here, and a model is not to be found here.
        StorageError: a manifest cannot be reached.
    """
    catalog, _, _ = _inputs(_absolute(spec))
    next(catalog, None)


def _inputs(
    spec: RestyleSpec,
) -> tuple[Iterator[manifests.Photo], manifests.Galleries, manifests.Galleries]:
    """Return the photos, every gallery of the manifests, and those asked for."""
    if spec.pool.ray_address == "local":  # on a cluster, the nodes may have what this machine lacks
        check_available(spec.engine)
    source = ", ".join(spec.galleries)
    catalog = manifests.read_catalog(spec.catalog, strict=spec.strict)
    every = manifests.read_galleries(spec.galleries, strict=spec.strict)
    galleries = manifests.select(every, spec.only, source)
    if spec.require_license:
        manifests.check_licenses(galleries, source, datetime.now(UTC).date())
    return catalog, every, galleries


def write_plan(plan: Plan, conditional_writes: bool | None = None) -> None:
    """Write the plan's table and open the run's record.

    A `_SUCCESS` from before goes away while there is something to do.

    Args:
        plan: What to write.
        conditional_writes: What is known of the output's store, for the record.

    Raises:
        StorageError: the output cannot be written.
    """
    if plan.counts.todo:
        storage.delete(plan.files.success)
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


def write_record(files: RunFiles, record: RunRecord) -> None:
    """Write run.json.

    Raises:
        StorageError: it cannot be written.
    """
    storage.write_bytes(files.record, f"{record.model_dump_json(indent=2)}\n".encode())


def _absolute(spec: RestyleSpec) -> RestyleSpec:
    return spec.model_copy(
        update={
            "catalog": storage.absolute(spec.catalog),
            "galleries": [storage.absolute(uri) for uri in spec.galleries],
            "output": storage.folder(spec.output),
        }
    )


def _run_id(spec: RestyleSpec, fingerprint: str, items: PlanItems) -> str:
    settings = {
        "params": spec.params.model_dump(mode="json"),
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
