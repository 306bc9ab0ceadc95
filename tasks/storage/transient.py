"""Which faults pass by themselves."""

import asyncio
import errno
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from tasks.errors import DiskFull, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ESTALE,
    errno.ETIMEDOUT,
    getattr(errno, "EREMOTEIO", errno.EIO),
}
_PASSING_NAMES = {
    "ClientPayloadError",
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "ConnectionError",
    "EndpointConnectionError",
    "FSTimeoutError",
    "FlexibleChecksumError",
    "HTTPClientError",
    "IncompleteRead",
    "OutOfMemoryError",
    "ProxyConnectionError",
    "ReadTimeoutError",
    "ResponseParserError",
    "ResponseStreamingError",
    "error_temp",
}
"""Classes of botocore, aiohttp, urllib3, ftplib and torch, by name: no import just to ask."""
_PASSING_CODES = {
    "BadDigest",  # bytes were changed on their way
    "ConditionalRequestConflict",
    "ExpiredToken",  # botocore fetches a new one
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TokenRefreshRequired",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
}
"""Words of S3 for what went wrong."""
MEMORY_ERRORS = {"MemoryError", "OutOfMemoryError"}
"""Classes, by name, of errors for which less at a time may do."""
T = TypeVar("T")
ATTEMPTS = 4
"""On top of those that the client of an object store makes by itself."""
_FIRST_PAUSE, _LONGEST_PAUSE, _SECONDS = 0.5, 15.0, 120.0


def is_transient(error: BaseException) -> bool:
    """Tell whether another attempt at what raised `error` may succeed.

    Time-outs, throttling, lost connections and a lack of memory pass; a full disk, a bad input or
    a defect do not.
    """
    if isinstance(error, StorageError):
        return error.transient
    if store_code(error) in _PASSING_CODES:
        return True
    if isinstance(error, TimeoutError | ConnectionError | asyncio.TimeoutError | MemoryError):
        return True
    if any(kind.__name__ in _PASSING_NAMES for kind in type(error).__mro__):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING


def store_code(error: BaseException) -> str:
    """Return S3's word for what went wrong, which s3fs hides in the error that it translates."""
    found: BaseException | None = error
    while found is not None:
        answer = getattr(found, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
        found = found.__cause__
    return ""


def is_disk_full(error: BaseException) -> bool:
    """Tell whether there was no room left to write what was to be written."""
    return isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in _FULL)


def lacks_memory(error: BaseException) -> bool:
    """Tell whether less at a time may do: device or machine had too little memory."""
    return any(kind.__name__ in MEMORY_ERRORS for kind in type(error).__mro__)


def is_sticky(message: str) -> bool:
    """Tell from an error's text whether this process has lost its CUDA context for good.

    Running out of memory is not meant: the context survives it.
    """
    if "out of memory" in message.lower():
        return False
    return any(sign in message for sign in ("CUDA error", "device-side assert", "CUBLAS_STATUS"))


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
