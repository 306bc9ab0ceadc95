"""Find the images in a folder, local or remote, and explain what is left out."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from schemas.text import counted
from stylegallery.images.suffixes import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from tasks.errors import FileMissing, ManifestError, StorageError
from tasks.manifests.photo_names import printable_name
from tasks.manifests.rules import MAX_URI
from tasks.records.layout import FOLDERS, LATEST
from tasks.storage import StoragePath, uris
from tasks.storage.folder_scan import scan
from tasks.storage.policy import ROOTS_VARIABLE

_OUTPUT = re.compile(
    rf"(?:^|.*/)(?=runs/run-[0-9a-f]{{12}}/|runs/[^/]+/run\.json$|{re.escape(LATEST)}$)"
)
"""Matches the root of an output, before the path of a file that only outputs have."""
_MOST_NAMED = 3


class Reason(Enum):
    """Why a file or folder is left out. Values are its noun, the plural, and the remedy."""

    UNREAD = (
        "picture of an unsupported format",
        "pictures of unsupported formats",
        "export as JPEG or PNG",
    )
    OUTPUT = (
        "output of StyleGallery",
        "outputs of StyleGallery",
        "to restyle results, give a folder below its assets",
    )
    OUTSIDE = (
        "image or linked folder",
        "images or linked folders",
        f"lies outside the folders that {ROOTS_VARIABLE} allows",
    )
    UNNAMED = (
        "image with a name that no URI can express",
        "images with names that no URI can express",
        "rename without control characters",
    )
    REPEATED = (
        "linked folder",
        "linked folders",
        "leads to a folder that is listed already, or that contains this one",
    )
    BROKEN = ("broken link", "broken links", "leads to nothing")
    LOCKED = ("unreadable folder", "unreadable folders", "change permissions")
    EMPTY = ("folder without an image", "folders without an image", "")
    HIDDEN = (
        "hidden image or folder",
        "hidden images or folders",
        "rename without the leading dot to include it",
    )
    OTHER = ("file that is not an image", "files that are not images", "")

    def sentence(self, names: list[str]) -> str:
        """Return a sentence with number, first names and remedy."""
        one, many, advice = self.value
        text = f"left out: {counted(len(names), one, many)} ({shorten_list(names)})"
        return f"{text}; {advice}" if advice else text


@dataclass
class PhotoFolder:
    """The images in a folder.

    Attributes:
        uri: Absolute URI of the folder.
        images: Relative path to absolute URI of each image, sorted by path.
        left_out: Relative paths of files and folders that are left out, by reason.
    """

    uri: str
    images: dict[str, str] = field(default_factory=dict)
    left_out: dict[Reason, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: Reason, names: Iterable[str]) -> None:
        """Record files or folders that are left out."""
        self.left_out.setdefault(reason, []).extend(names)

    def notes(self) -> list[str]:
        """Return a sentence for each reason with files or folders."""
        named = ((reason, sorted(self.left_out.get(reason, []))) for reason in Reason)
        return [reason.sentence(names) for reason, names in named if names]


def find_photos(src: str) -> PhotoFolder:
    """Find the images below a folder.

    Raises:
        ManifestError: the folder does not exist or contains no image.
        StorageError: the folder cannot be listed.
    """
    found = PhotoFolder(uris.folder_uri(src))
    files, folders = _local_files(found) if uris.is_local(found.uri) else _remote_files(found)
    outputs = {match.group() for match in map(_OUTPUT.match, files) if match}
    ours = tuple(f"{root}{name}/" for root in outputs for name in FOLDERS)
    found.leave_out(Reason.OUTPUT, {root.rstrip("/") or "." for root in outputs})
    for name in sorted(files):
        if not name.startswith(ours):
            _classify(found, name)
    roots = (*ours, *filter(None, outputs))
    inputs = (name for name in folders if not f"{name}/".startswith(roots))
    found.leave_out(Reason.EMPTY, _without_images(inputs, found.images))
    if not found.images:
        rule = f"contains no images ({', '.join(IMAGE_SUFFIXES)}); give a folder of images, a .csv "
        rule += "or a .jsonl file"
        raise ManifestError(found.uri, None, None, "; ".join([rule, *found.notes()[:1]]))
    return found


def shorten_list(names: list[str]) -> str:
    """Return the first few paths and the number of the others, for a message."""
    named = ", ".join(printable_name(name) for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _local_files(found: PhotoFolder) -> tuple[list[str], list[str]]:
    path = uris.local_path(found.uri)
    if not os.path.isdir(path):
        rule = "is a file; give its folder" if os.path.exists(path) else "not found; check the path"
        raise ManifestError(found.uri, None, None, rule)
    try:
        seen = scan(path)
    except OSError as error:
        raise StorageError(f"{found.uri}: cannot list it ({error.strerror})") from error
    found.leave_out(Reason.HIDDEN, filter(_is_shown_hidden, seen.hidden))
    found.leave_out(Reason.REPEATED, seen.repeated)
    found.leave_out(Reason.OUTSIDE, seen.outside)
    found.leave_out(Reason.BROKEN, seen.broken)
    found.leave_out(Reason.LOCKED, seen.locked)
    found.leave_out(Reason.OTHER, seen.special)
    return seen.files, seen.folders


def _remote_files(found: PhotoFolder) -> tuple[list[str], list[str]]:
    try:
        listed = StoragePath.parse(found.uri).list_files()
    except FileMissing as error:
        raise ManifestError(found.uri, None, None, "not found; check the path") from error
    files, folders, hidden = list[str](), set[str](), set[str]()
    for name, size in listed.items():
        parts = name.split("/")
        # Keys may have segments of dots only, which are not hidden names.
        dots = (i for i, part in enumerate(parts) if part.startswith(".") and part.strip("."))
        first = next(dots, None)
        if first is not None:
            hidden.add("/".join(parts[: first + 1]) + ("/" if parts[first + 1 :] else ""))
            continue
        folders |= {"/".join(parts[:i]) for i in range(1, len(parts))}
        if size or not name.endswith("/"):  # an empty object is the placeholder of a folder
            files.append(name)
    found.leave_out(Reason.HIDDEN, filter(_is_shown_hidden, hidden))
    return files, [name for name in folders if name.strip("/")]


def _classify(found: PhotoFolder, name: str) -> None:
    """Add a file to the images, or to those left out."""
    suffix = _suffix(name)
    if suffix not in IMAGE_SUFFIXES:
        found.leave_out(Reason.UNREAD if suffix in UNREAD_SUFFIXES else Reason.OTHER, [name])
        return
    local = uris.is_local(found.uri)
    try:
        if local:
            uri = uris.local_uri(os.path.join(uris.local_path(found.uri), name))
        else:
            uri = uris.absolute(uris.join(found.uri, name))
    except StorageError:
        found.leave_out(Reason.OUTSIDE if local else Reason.UNNAMED, [name])
        return
    if len(uri) > MAX_URI:
        found.leave_out(Reason.UNNAMED, [name])
    else:
        found.images[name] = uri


def _is_shown_hidden(name: str) -> bool:
    """Tell whether to report a hidden name: a folder or an image, not a system's file."""
    return name.endswith("/") or _suffix(name) in IMAGE_SUFFIXES


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _without_images(folders: Iterable[str], images: Iterable[str]) -> list[str]:
    """Return the folders without an image at any depth, but not their sub-folders."""
    filled = {name[:i] for name in images for i, sign in enumerate(name) if sign == "/"}
    empty = {name for name in folders if name not in filled}
    return [name for name in empty if name.rpartition("/")[0] not in empty]
