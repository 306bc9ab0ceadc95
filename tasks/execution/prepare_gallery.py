"""References prepared before a run: analysed once, and left in `prepared/` for all actors."""

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
from tasks import storage
from tasks.cluster.parallel import spread
from tasks.cluster.session import connected
from tasks.errors import StorageError
from tasks.items.context import Bench
from tasks.items.inputs import style_of
from tasks.manifests import reader
from tasks.planning.expand import style_source
from tasks.planning.versions import device_class, source_versions
from tasks.storage.redaction import redact

_Piece = tuple[StyleSource, str, StyleParams, EngineSpec, str, str]


def prepare_galleries(
    spec: PrepareSpec, on_prepared: Callable[[int, int], None] = lambda _done, _total: None
) -> dict[str, str]:
    """Prepare every reference of some galleries; those prepared already cost a look.

    Args:
        spec: What to prepare, for which runs.
        on_prepared: Told how many are prepared, and of how many.

    Returns:
        What went wrong: `gallery/style`, or a gallery, to a sentence. Empty when all can be used.

    Raises:
        ManifestError: a manifest breaks a rule.
        PoolError: Ray cannot be reached.
        StorageError: the galleries or the output cannot be reached.
    """
    every = reader.read_galleries(spec.galleries)
    galleries = reader.select_galleries(every, spec.gallery_ids, ", ".join(spec.galleries))
    rows = [row for gallery in galleries.values() for row in gallery.rows]
    uris = (uri for row in rows for uri in (row.image_uri, row.mask_uri) if uri)
    versions = source_versions(uris)
    device = device_class(spec)
    engine = spec.engine.model_copy(update={"device": device})
    fingerprint = engine_fingerprint(spec.engine, device)
    output = storage.absolute(spec.output)
    pieces: list[_Piece] = [
        (style_source(row, versions), row.gallery_id, spec.params, engine, fingerprint, output)
        for row in rows
    ]
    wrong = {name: str(gallery.problem) for name, gallery in galleries.items() if gallery.problem}
    with connected(spec.pool) as layout:
        for done, (number, told) in enumerate(spread(_prepare, pieces, layout, engines=True), 1):
            if told:
                name = f"{rows[number].gallery_id}/{rows[number].style_id}"
                wrong[name] = one_line(redact(str(told)), 600)
            on_prepared(done, len(rows))
    return dict(sorted(wrong.items()))


def _prepare(piece: _Piece) -> str:
    """Prepare one reference in a process that keeps its engine; return why it cannot be used."""
    style, gallery_id, params, engine, fingerprint, output = piece
    try:
        style_of(_bench(params, engine, fingerprint, output), style, gallery_id)
    except InputError as error:
        return str(error)
    except StorageError as error:
        if error.transient:
            raise
        return str(error)
    return ""


@lru_cache(1)
def _bench(params: StyleParams, engine: EngineSpec, fingerprint: str, output: str) -> Bench:
    return Bench(StyleGallery.load(engine), output, params, fingerprint=fingerprint)
