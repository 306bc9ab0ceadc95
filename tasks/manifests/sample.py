"""Sample a few photos of a catalog for a preview."""

import hashlib
import random
from collections import defaultdict

import pyarrow as pa

from schemas.arrow import arrow_schema, to_table
from schemas.flows import PreviewSpec
from schemas.manifest import CatalogRow
from schemas.run import RestyleSpec
from tasks import storage
from tasks.errors import PlanError
from tasks.manifests import reader
from tasks.manifests.reader import Photo
from tasks.records import parquet


def preview_spec(spec: PreviewSpec) -> RestyleSpec:
    """Sample photos for each gallery, write them as a catalog, and return the spec of its run.

    Catalog and run go to the output of the preview, so a later run over the whole catalog reuses
    the items.

    Raises:
        ManifestError: a manifest breaks a rule.
        PlanError: no photo of the catalog is assigned to a selected gallery.
        StorageError: something cannot be read or written.
    """
    catalog = storage.absolute(spec.catalog)
    every = reader.read_galleries(spec.galleries, strict=spec.strict)
    galleries = reader.select_galleries(every, spec.gallery_ids, ", ".join(spec.galleries))
    photos = reader.read_catalog(catalog, strict=spec.strict)
    if spec.strict:
        photos = reader.check_gallery_names(photos, every)
    drawn: dict[str, list[Photo]] = {name: [] for name in galleries}
    seen: dict[str, int] = defaultdict(int)
    dice = random.Random(spec.seed)
    for photo in photos:
        if photo.problem:
            continue  # reported by the run over the whole catalog
        for name in galleries:
            if photo.row.galleries is None or name in photo.row.galleries:
                seen[name] += 1
                _sample_reservoir(drawn[name], photo, seen[name], spec.products, dice)
    chosen: dict[int, tuple[Photo, list[str]]] = {}
    for name, members in drawn.items():
        for photo in members:
            chosen.setdefault(photo.number, (photo, []))[1].append(name)
    if not chosen:
        raise PlanError(
            "no photo of the catalog is assigned to any selected gallery; check `gallery_ids` and "
            "the column `galleries` of the catalog"
        )
    data = parquet.to_bytes(_catalog([chosen[number] for number in sorted(chosen)]))
    name = hashlib.sha256(data).hexdigest()[:12]
    sample = storage.StoragePath.parse(spec.output) / f"previews/catalog-{name}.parquet"
    sample.write_bytes(data)
    own = RestyleSpec.model_fields
    given = {field: getattr(spec, field) for field in own if field not in ("catalog", "limit")}
    return RestyleSpec(catalog=sample.uri, **given)


def _sample_reservoir(
    kept: list[Photo], photo: Photo, seen: int, most: int, dice: random.Random
) -> None:
    """Keep each photo with equal probability (algorithm R, Vitter 1985)."""
    if len(kept) < most:
        kept.append(photo)
        return
    place = dice.randrange(seen)
    if place < most:
        kept[place] = photo


def _catalog(chosen: list[tuple[Photo, list[str]]]) -> pa.Table:
    rows = [photo.row.model_copy(update={"galleries": names}) for photo, names in chosen]
    table = to_table(rows, CatalogRow)
    extra = sorted({name for photo, _ in chosen for name in photo.extra})
    for name in extra:
        column = pa.array([photo.extra.get(name) for photo, _ in chosen], pa.string())
        table = table.append_column(pa.field(name, pa.string()), column)
    return table.replace_schema_metadata(arrow_schema(CatalogRow).metadata)
