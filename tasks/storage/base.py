"""The interface of storage backends."""

import re
from dataclasses import dataclass
from typing import Protocol

from tasks.errors import FileTooLarge
from tasks.storage.policy import printable

_DRAFT = re.compile(r"\..{0,32}[0-9a-f]{16}\.tmp")


@dataclass(frozen=True)
class Stat:
    """Size of a file in bytes and, on an object store, its ETag."""

    size: int
    etag: str = ""


class Backend(Protocol):
    """A storage backend. Paths are local paths, `BUCKET/KEY` on S3, or URIs of other schemes.

    Methods raise OSError or botocore's errors; `tasks.storage.connect` translates them.
    """

    def stat(self, path: str) -> Stat:
        """Return size and ETag of a file; FileNotFoundError for a folder or no file."""

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Return size and ETag of those of many files that cheap listings contain."""

    def read(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        """Return all bytes with size and ETag; FileTooLarge above `limit` bytes."""

    def sha256(self, path: str, limit: int) -> str:
        """Return the SHA-256 in hex digits; FileTooLarge above `limit` bytes."""

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Write a file atomically; with `new`, raise AlreadyExists if it exists.

        Returns:
            True if the store has confirmed the bytes; on False the caller compares the size.
        """

    def delete(self, path: str) -> None:
        """Delete one file."""

    def names(self, path: str) -> list[str]:
        """Return the names of the files directly in a folder."""

    def folders(self, path: str) -> list[str]:
        """Return the names of the folders directly in a folder."""

    def walk(self, path: str) -> dict[str, int]:
        """Return relative path to size of all files below a folder.

        Raises:
            FileNotFoundError: the bucket does not exist.
        """


def is_draft(name: str) -> bool:
    """Tell whether a file is a draft: a temporary file that is renamed to its target.

    No asset has such a name: names of assets end in their image format.
    """
    return _DRAFT.fullmatch(name) is not None


def check_size(path: str, size: int, limit: int | None) -> None:
    """Check that a file has at most `limit` bytes.

    Raises:
        FileTooLarge: it has more.
    """
    if limit is not None and size > limit:
        most = f"{limit / 2**20:.0f} MB"
        raise FileTooLarge(
            f"{printable(path)} has {size / 2**20:.0f} MB, more than the limit of {most}"
        )
