"""Learnt styles of items: from memory, from `prepared/`, or learnt here."""

import hashlib
import logging
from dataclasses import replace
from functools import partial

from schemas.work import WorkItem
from stylegallery.adapters.adapter import Adapter, read_adapter
from stylegallery.adapters.key import canonical
from stylegallery.errors import BadReferences, InputError, UnsupportedModel
from tasks.errors import FileMissing, FileTooLarge, LearningError
from tasks.items.context import ActorContext
from tasks.items.inputs import load_style
from tasks.items.outcome import reference_name
from tasks.items.provenance import reference_credits
from tasks.planning.learning import AdapterSource, adapter_sources
from tasks.records.learnt_files import (
    LearningFailure,
    adapter_file,
    failure_file,
    read_failure,
    write_failure,
)
from tasks.storage.transient import read_and_decode

logger = logging.getLogger(__name__)

_CHECKSUM = "checksum"
_MAX_BYTES = 2**31  # of rank 128 in all layers of SDXL, with a margin


def sources_of(context: ActorContext, item: WorkItem) -> list[AdapterSource]:
    """Return what the adapters of an item are learnt from; none if the method learns nothing."""
    return adapter_sources(item.styles, item.gallery_id, context.params, context.learning_base)


def load_adapter(context: ActorContext, source: AdapterSource) -> Adapter:
    """Return an adapter from memory or `prepared/`, or learn it, if its file was deleted.

    Raises:
        InputError: no style can be learnt from a reference.
        LearningError: an error of ours, here or while the run learnt its styles.
        StorageError: the store cannot be reached.
    """

    def make() -> Adapter:
        stored = _read(context, source)
        if stored is not None:
            return stored
        if source.key not in context.failures:
            failure = read_failure(context.output, source.key)
            if failure is None:
                logger.info("%s is not in prepared/ and is learnt here", source.name)
                return _learn(context, source)
            context.failures[source.key] = failure
        raise _error(context.failures[source.key], source)

    return context.adapters.get(source.key, make)


def learn_adapter(context: ActorContext, source: AdapterSource) -> None:
    """Learn a style and write it to `prepared/`, unless it is there; if that fails, write why.

    Raises:
        InputError: no style can be learnt from a reference, or one cannot be read.
        LearningError: an error of ours; the next run tries again.
        StorageError: the store cannot be reached.
    """
    if _read(context, source) is None:
        _learn(context, source)


def _learn(context: ActorContext, source: AdapterSource) -> Adapter:
    images = [load_style(context, style, source.gallery_id).image for style in source.styles]
    pictures = [image.picture for image in images]
    weights = [style.weight for style in source.styles]
    names = [_placeholder(place) for place in range(len(pictures))]
    params = context.params_of(source.styles[0])
    try:
        learnt = context.engine.learn(pictures, params, weights, names=names)
    except Exception as error:
        rejected = isinstance(error, InputError)
        failure = LearningFailure.of(error, context.run_id, rejected=rejected)
        write_failure(context.output, source.key, failure)
        context.failures[source.key] = failure
        raise _error(failure, source) from error
    credits = reference_credits(list(source.styles))
    terms = [credit.model_dump(exclude={"style_id"}, exclude_none=True) for credit in credits]
    adapter = replace(learnt, notes={**learnt.notes, "learnt_from": terms})
    notes = {**adapter.notes, _CHECKSUM: _checksum(source, adapter)}
    return _save(context, source, replace(adapter, notes=notes))


def _read(context: ActorContext, source: AdapterSource) -> Adapter | None:
    """Return the stored adapter; None if there is no intact file."""
    file = adapter_file(context.output, source.key)

    def decode(data: bytes) -> Adapter:
        adapter = read_adapter(data, context.engine.models.unet, str(file))
        if adapter.notes.get(_CHECKSUM) != _checksum(source, adapter):
            raise UnsupportedModel(f"the checksum of {file} does not match")
        return adapter

    try:
        read = partial(file.read_bytes, _MAX_BYTES)
        return read_and_decode(str(file), read, decode, (UnsupportedModel,))
    except FileMissing:
        return None
    except (FileTooLarge, UnsupportedModel) as error:
        logger.warning("the style of %s is learnt again: %s", source.name, error)
        return None


def _save(context: ActorContext, source: AdapterSource, learnt: Adapter) -> Adapter:
    """Write an adapter, unless another process was first; return the one that is stored.

    Processes on other hardware learn slightly other values, and all items are to use the same.
    """
    file, data = adapter_file(context.output, source.key), learnt.to_bytes()
    if not file.write_new(data):
        if first := _read(context, source):
            return first
        file.write_bytes(data)
    failure_file(context.output, source.key).delete()
    return read_adapter(data, context.engine.models.unet, str(file))


def _checksum(source: AdapterSource, adapter: Adapter) -> str:
    """Return the SHA-256 of an adapter's key, notes and factors.

    A store may damage bytes on their way, and a changed weight is a number like any other.
    """
    digest = hashlib.sha256(source.key.encode())
    notes = {name: value for name, value in adapter.notes.items() if name != _CHECKSUM}
    digest.update(canonical(notes).encode())
    for name, factors in sorted(adapter.factors.items()):
        digest.update(f"{name} {[tuple(factor.shape) for factor in factors]}".encode())
        for factor in factors:
            digest.update(factor.numpy().tobytes())
    return digest.hexdigest()


def _error(failure: LearningFailure, source: AdapterSource) -> Exception:
    """Return the error of a style that was not learnt, in the words of this gallery."""
    reason = failure.reason
    for place, style in enumerate(source.styles):
        reason = reason.replace(
            _placeholder(place), reference_name(style.style_id, source.gallery_id)
        )
    if failure.kind == "rejected":
        return BadReferences(reason)
    return LearningError(
        f"the style of {source.name} was not learnt: {reason}; run the same command again to try "
        "again"
    )


def _placeholder(place: int) -> str:
    return f"{{{place}}}"
