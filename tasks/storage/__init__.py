"""Read and write files: on the local disk, on S3 and on other fsspec file systems."""

from tasks.storage.path import (
    MAX_IMAGE_BYTES,
    MISSING,
    StoragePath,
    content_version,
    sha256_version,
    versions,
)
from tasks.storage.uris import absolute, folder_uri, resolve, resolver, stem

__all__ = [
    "MAX_IMAGE_BYTES",
    "MISSING",
    "StoragePath",
    "absolute",
    "content_version",
    "folder_uri",
    "resolve",
    "resolver",
    "sha256_version",
    "stem",
    "versions",
]
