"""Prepare references before a run: store them in `prepared/`, where all actors find them."""

from collections.abc import Callable
from dataclasses import replace

from schemas.flows import PrepareSpec
from schemas.text import one_line
from schemas.work import StyleSource
from stylegallery.errors import InputError
from stylegallery.models.fingerprint import engine_fingerprint, learning_fingerprint
from tasks.cluster.parallel import map_unordered
from tasks.cluster.session import connected
from tasks.errors import StorageError
from tasks.execution.engine_context import shared_context
from tasks.execution.learn import learn_adapters
from tasks.items.inputs import load_style
from tasks.manifests import reader
from tasks.manifests.gallery import check_settings
from tasks.messages import ActorSetup
from tasks.planning.expand import style_source
from tasks.planning.learning import adapter_sources, distinct_sources
from tasks.planning.versions import device_class, source_versions
from tasks.storage import StoragePath
from tasks.storage.redaction import redact


def prepare_galleries(
    spec: PrepareSpec, on_prepared: Callable[[int, int], None] = lambda _done, _total: None
) -> dict[str, str]:
    """Prepare every reference of some galleries; those already stored are only read.

    For a method that learns, learn the styles of the galleries whose references can be used.

    Args:
        spec: Galleries, parameters, engine and output.
        on_prepared: Called with the number of prepared references and learnt styles and their
            total.

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
    versions = source_versions(u for row in rows for u in (row.image_uri, row.mask_uri) if u)
    styles = {
        name: [style_source(row, versions) for row in gallery.rows]
        for name, gallery in galleries.items()
    }
    references = [(name, style) for name, some in styles.items() for style in some]
    setup = _setup(spec)
    sources = distinct_sources(
        source
        for name, some in styles.items()
        for source in adapter_sources(some, name, spec.params, setup.learning_base)
    )
    total = len(references) + len(sources)
    problems = {
        name: str(gallery.problem) for name, gallery in galleries.items() if gallery.problem
    }
    with connected(spec.pool) as layout:
        setup = replace(setup, threads=layout.threads)
        tasks = [(style, name, setup) for name, style in references]
        outcomes = map_unordered(_prepare, tasks, layout, engines=True)
        for done, (number, problem) in enumerate(outcomes, 1):
            if problem:
                name, style = references[number]
                problems[f"{name}/{style.style_id}"] = one_line(redact(str(problem)), 600)
            on_prepared(done, total)
        learnt = learn_adapters(sources, setup, layout)
        for done, (source, problem) in enumerate(learnt, len(references) + 1):
            names = {f"{source.gallery_id}/{style.style_id}" for style in source.styles}
            if problem and not names & problems.keys():
                problems[source.name] = problem
            on_prepared(done, total)
    return dict(sorted(problems.items()))


def _setup(spec: PrepareSpec) -> ActorSetup:
    device = device_class(spec)
    return ActorSetup(
        engine=spec.engine.model_copy(update={"device": device}),
        params=spec.params,
        output=StoragePath.parse(spec.output),
        run_id="",
        engine_fingerprint=engine_fingerprint(spec.engine, device),
        threads=0,
        learning_base=learning_fingerprint(spec.engine, device),
    )


def _prepare(task: tuple[StyleSource, str, ActorSetup]) -> str:
    """Prepare one reference; return why it cannot be used, or an empty string."""
    style, gallery_id, setup = task
    try:
        load_style(shared_context(setup), style, gallery_id)
    except InputError as error:
        return str(error)
    except StorageError as error:
        if error.transient:
            raise
        return str(error)
    return ""
