"""Prepare references before a run: store them in `prepared/`, where all actors find them."""

from collections.abc import Callable
from functools import lru_cache

from schemas.engine import EngineSpec
from schemas.flows import PrepareSpec
from schemas.params import StyleParams
from schemas.text import one_line
from schemas.work import StyleSource
from stylegallery import StyleGallery
from stylegallery.errors import InputError
from stylegallery.models.fingerprint import engine_fingerprint
from tasks.cluster.parallel import map_unordered
from tasks.cluster.session import connected
from tasks.errors import StorageError
from tasks.items.context import ActorContext
from tasks.items.inputs import load_style
from tasks.manifests import reader
from tasks.manifests.gallery import check_settings
from tasks.planning.expand import style_source
from tasks.planning.versions import device_class, source_versions
from tasks.storage import StoragePath
from tasks.storage.redaction import redact

_Task = tuple[StyleSource, str, StyleParams, EngineSpec, str, StoragePath]


def prepare_galleries(
    spec: PrepareSpec, on_prepared: Callable[[int, int], None] = lambda _done, _total: None
) -> dict[str, str]:
    """Prepare every reference of some galleries; those already stored are only read.

    Args:
        spec: Galleries, parameters, engine and output.
        on_prepared: Called with the number of prepared references and their total.

    Returns:
        Problems: `gallery/style`, or a gallery, to an error message. Empty if all can be used.

    Raises:
        ManifestError: a manifest breaks a rule.
        PoolError: Ray cannot be reached.
        StorageError: the galleries or the output cannot be reached.
    """
    every = reader.read_galleries(spec.galleries)
    check_settings(every.values(), spec.params)
    galleries = reader.select_galleries(every, spec.gallery_ids, ", ".join(spec.galleries))
    rows = [row for gallery in galleries.values() for row in gallery.rows]
    uris = (uri for row in rows for uri in (row.image_uri, row.mask_uri) if uri)
    versions = source_versions(uris)
    device = device_class(spec)
    engine = spec.engine.model_copy(update={"device": device})
    fingerprint = engine_fingerprint(spec.engine, device)
    output = StoragePath.parse(spec.output)
    tasks: list[_Task] = [
        (style_source(row, versions), row.gallery_id, spec.params, engine, fingerprint, output)
        for row in rows
    ]
    problems = {
        name: str(gallery.problem) for name, gallery in galleries.items() if gallery.problem
    }
    with connected(spec.pool) as layout:
        outcomes = map_unordered(_prepare, tasks, layout, engines=True)
        for done, (number, problem) in enumerate(outcomes, 1):
            if problem:
                name = f"{rows[number].gallery_id}/{rows[number].style_id}"
                problems[name] = one_line(redact(str(problem)), 600)
            on_prepared(done, len(rows))
    return dict(sorted(problems.items()))


def _prepare(task: _Task) -> str:
    """Prepare one reference; return why it cannot be used, or an empty string.

    The process keeps its engine for the next reference.
    """
    style, gallery_id, params, engine, fingerprint, output = task
    try:
        load_style(_context(params, engine, fingerprint, output), style, gallery_id)
    except InputError as error:
        return str(error)
    except StorageError as error:
        if error.transient:
            raise
        return str(error)
    return ""


@lru_cache(1)
def _context(
    params: StyleParams, engine: EngineSpec, fingerprint: str, output: StoragePath
) -> ActorContext:
    return ActorContext(StyleGallery.load(engine), output, params, fingerprint=fingerprint)
