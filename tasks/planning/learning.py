"""Which styles a run learns: an adapter for each gallery or reference, named by its content."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from schemas.gallery_params import gallery_params
from schemas.methods import method_info
from schemas.params import StyleParams
from schemas.work import StyleSource
from stylegallery.adapters.key import adapter_key
from tasks.records.learnt_files import adapter_file, read_failure
from tasks.storage import StoragePath

_THREADS = 16


@dataclass(frozen=True)
class AdapterSource:
    """What one adapter is learnt from.

    Attributes:
        key: Hash of all that learning depends on. Names and URIs are left out, so equal
            references are learnt once for all galleries and runs.
        gallery_id: A gallery that uses it.
        styles: Its references, in the order of their versions.
    """

    key: str
    gallery_id: str
    styles: tuple[StyleSource, ...]

    @property
    def name(self) -> str:
        """Name for people: the gallery, or the gallery and its only reference."""
        (first, *others) = self.styles
        return self.gallery_id if others else f"{self.gallery_id}/{first.style_id}"


def params_of(styles: Sequence[StyleSource], run: StyleParams) -> StyleParams:
    """Return the style parameters of a gallery.

    Args:
        styles: Its references.
        run: Style parameters of the run.
    """
    return gallery_params(run, styles[0].method, styles[0].preset)


def adapter_sources(
    styles: Sequence[StyleSource], gallery_id: str, params: StyleParams, base: str
) -> list[AdapterSource]:
    """Return what the adapters of a gallery are learnt from; none if its method learns nothing.

    Args:
        styles: The gallery's references.
        gallery_id: The gallery.
        params: Style parameters of the run.
        base: From :func:`stylegallery.models.fingerprint.learning_fingerprint`.

    Returns:
        One source of all references, or one for each in their order.
    """
    params = params_of(styles, params)
    learns = method_info(params.method).learns
    if not learns:
        return []
    if learns == "reference":  # a single reference has no use for a weight
        groups = [[style.model_copy(update={"weight": 1.0})] for style in styles]
    else:
        groups = [sorted(styles, key=lambda style: (style.image_version, style.weight))]
    return [
        AdapterSource(
            adapter_key(base, [(style.image_version, style.weight) for style in group], params),
            gallery_id,
            tuple(group),
        )
        for group in groups
    ]


def distinct_sources(sources: Iterable[AdapterSource]) -> list[AdapterSource]:
    """Return one source for each key, in the order of the first."""
    found: dict[str, AdapterSource] = {}
    for source in sources:
        found.setdefault(source.key, source)
    return list(found.values())


def not_learnt(sources: Iterable[AdapterSource], output: StoragePath) -> list[AdapterSource]:
    """Return the distinct sources whose adapter is still to be learnt, in order.

    Those that an earlier run has rejected are left out: the same references are rejected again.

    Raises:
        StorageError: the store cannot be reached.
    """

    def is_known(source: AdapterSource) -> bool:
        if adapter_file(output, source.key).exists():
            return True
        failure = read_failure(output, source.key)
        return failure is not None and failure.kind == "rejected"

    distinct = distinct_sources(sources)
    with ThreadPoolExecutor(_THREADS) as pool:
        known = list(pool.map(is_known, distinct))
    return [source for source, found in zip(distinct, known, strict=True) if not found]
