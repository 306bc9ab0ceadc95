"""What a place where bytes lie must do."""

import re
from dataclasses import dataclass
from typing import Protocol

from tasks.access import printable
from tasks.errors import FileTooLarge

_DRAFT = re.compile(r"\..{0,32}[0-9a-f]{16}\.tmp")


@dataclass(frozen=True)
class Stat:
    """Size in bytes and, on an object store, the ETag."""

    size: int
    etag: str = ""


class Backend(Protocol):
    """What a place must do; paths are local paths, `BUCKET/KEY`, or the URIs of other schemes.

    Errors are OSErrors or botocore's.
    """

    def stat(self, path: str) -> Stat:
        """Describe one file; FileNotFoundError for none and for folders."""

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Describe those of many files of which more is known cheaply than by asking for each."""

    def read(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        """Return all bytes and what they are; FileTooLarge above the limit."""

    def sha256(self, path: str, limit: int) -> str:
        """Return the hash of all bytes as hex digits; FileTooLarge above the limit."""

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Replace all bytes at once; with `new`, AlreadyThere where something is.

        Returns:
            True when it is known that all bytes arrived; False asks for a look at the size.
        """

    def delete(self, path: str) -> None:
        """Remove one file."""

    def names(self, path: str) -> list[str]:
        """Names of the files directly below a folder."""

    def folders(self, path: str) -> list[str]:
        """Names of the folders directly below a folder."""

    def walk(self, path: str) -> dict[str, int]:
        """Relative path to size of all files below a folder; FileNotFoundError for no bucket."""


def is_draft(name: str) -> bool:
    """Tell whether a file is one of ours that is being written beside its target.

    No asset is called so, whatever its ids: the names of assets end in their format.
    """
    return _DRAFT.fullmatch(name) is not None


def check_size(path: str, size: int, limit: int | None) -> None:
    """Refuse a file larger than `limit` bytes.

    Raises:
        FileTooLarge: it is.
    """
    if limit is not None and size > limit:
        most = f"{limit / 2**20:.0f} MB"
        raise FileTooLarge(
            f"{printable(path)} has {size / 2**20:.0f} MB, more than the limit of {most}"
        )
