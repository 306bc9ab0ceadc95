"""Classify errors as transient or permanent, and retry the transient ones."""

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

_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
_TRANSIENT_ERRNOS = {
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
_TRANSIENT_NAMES = {
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
"""Transient errors of botocore, aiohttp, urllib3, ftplib and torch; by name, to avoid imports."""
_TRANSIENT_CODES = {
    "BadDigest",  # the bytes were damaged on their way
    "ConditionalRequestConflict",
    "ExpiredToken",  # botocore fetches a new token
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
"""Transient error codes of S3."""
MEMORY_ERRORS = {"MemoryError", "OutOfMemoryError"}
"""Names of error classes that mean too little memory: a smaller batch may succeed."""
T = TypeVar("T")
ATTEMPTS = 4
"""Attempts per operation, each with the retries of the store's client."""
_FIRST_PAUSE, _LONGEST_PAUSE, _SECONDS = 0.5, 15.0, 120.0


def is_transient(error: BaseException) -> bool:
    """Tell whether another attempt may succeed.

    True for time-outs, throttling, lost connections and a lack of memory; false for a full disk, a
    bad input or a bug.
    """
    if isinstance(error, StorageError):
        return error.transient
    if s3_error_code(error) in _TRANSIENT_CODES:
        return True
    if isinstance(error, TimeoutError | ConnectionError | asyncio.TimeoutError | MemoryError):
        return True
    if any(kind.__name__ in _TRANSIENT_NAMES for kind in type(error).__mro__):
        return True
    return isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS


def s3_error_code(error: BaseException) -> str:
    """Return S3's error code, from the cause of an error that s3fs has translated; else empty."""
    found: BaseException | None = error
    while found is not None:
        answer = getattr(found, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
        found = found.__cause__
    return ""


def is_disk_full(error: BaseException) -> bool:
    """Tell whether the disk or quota is full."""
    return isinstance(error, DiskFull) or (
        isinstance(error, OSError) and error.errno in _FULL_ERRNOS
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether device or machine had too little memory, so a smaller batch may succeed."""
    return any(kind.__name__ in MEMORY_ERRORS for kind in type(error).__mro__)


def is_cuda_context_lost(message: str) -> bool:
    """Tell from an error's text whether this process has lost its CUDA context.

    False for "out of memory", after which the context still works.
    """
    if "out of memory" in message.lower():
        return False
    return any(sign in message for sign in ("CUDA error", "device-side assert", "CUBLAS_STATUS"))


def with_retries(do: Callable[[], T]) -> T:
    """Return what `do` returns, retrying it after transient errors.

    Pauses are random up to a limit that doubles (full jitter), so that many throttled actors do
    not retry at the same time.

    Raises:
        Exception: the first permanent error, or the error of the last attempt.
    """
    again = Retrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
        stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(_SECONDS),
        reraise=True,
    )
    return again(do)


def read_and_decode(
    uri: str,
    read: Callable[[], bytes],
    decode: Callable[[bytes], T],
    faults: tuple[type[Exception], ...],
) -> T:
    """Read and decode a file; if it cannot be decoded, read it again.

    Bytes may be damaged on their way, and not every store has a checksum that detects this.

    Args:
        uri: The file.
        read: Reads the file.
        decode: Raises one of `faults` if the bytes cannot be decoded.
        faults: Errors that mean bad bytes.

    Raises:
        StorageError: two reads gave different bytes, and neither can be decoded; transient.
        Exception: the error of `decode`, if two reads gave the same bytes.
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
            f"{uri}: two reads gave different bytes, and neither can be decoded; check the store "
            "and the network",
            transient=True,
        ) from error
