"""Trying again what passes by itself: pauses grow, and differ from process to process."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from tasks.errors import StorageError
from tasks.faults import is_transient

T = TypeVar("T")

ATTEMPTS = 4
"""On top of those that the client of an object store makes by itself."""
_FIRST_PAUSE, _LONGEST_PAUSE, _SECONDS = 0.5, 15.0, 120.0


def persistently(do: Callable[[], T]) -> T:
    """Return what `do` returns; after a passing fault, try it again.

    The pauses are random up to a bound that doubles (full jitter), so that a thousand actors which
    a store has turned away together do not come back together.

    Raises:
        Exception: the last fault, when no attempt helped or the fault is none that passes.
    """
    again = Retrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
        stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(_SECONDS),
        reraise=True,
    )
    return again(do)


def read_twice(
    uri: str,
    read: Callable[[], bytes],
    decode: Callable[[bytes], T],
    faults: tuple[type[Exception], ...],
) -> T:
    """Return what a file decodes to; one that decodes badly is read once more before that counts.

    Bytes can be damaged on their way, and not every store offers a checksum that would tell.

    Args:
        uri: The file.
        read: Reads it.
        decode: Raises one of `faults` where the bytes cannot be used.
        faults: What tells of bytes that cannot be used.

    Raises:
        StorageError: two reads gave different bytes, and neither can be used; this passes.
        Exception: what `decode` raises of bytes that are read twice alike.
    """
    data = read()
    try:
        return decode(data)
    except faults:
        again = read()
        if again == data:
            raise
    try:
        return decode(again)
    except faults as error:
        raise StorageError(
            f"{uri}: two reads gave different bytes, and neither can be used; check the store and "
            "the way to it",
            transient=True,
        ) from error
