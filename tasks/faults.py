"""Which faults pass by themselves."""

import asyncio
import errno

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
