"""List the files below a local folder, following links without loops."""

import os
from collections import deque
from dataclasses import dataclass, field

from tasks.errors import StorageError
from tasks.storage.policy import check_root


@dataclass
class Scan:
    """The content of a folder, by relative path.

    Attributes:
        files: Regular files and links to regular files.
        folders: Folders that were read.
        hidden: Names that start with a dot. Folders among them end in a slash and are not read.
        repeated: Links to a folder that is listed already or that contains this one.
        outside: Links to folders outside STYLEGALLERY_ALLOWED_ROOTS.
        broken: Links without a target.
        locked: Folders without permission to read.
        special: Pipes, sockets and devices.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)


def scan(root: str) -> Scan:
    """List a local folder at all depths. A folder with several links to it is listed once.

    Real folders are read before links, so a folder keeps its real path.

    Raises:
        OSError: the folder itself cannot be read.
    """
    found, top = Scan(), os.path.realpath(root)
    seen = set[str]()
    todo, links = [""], deque[str]()
    while todo or links:
        place = todo.pop() if todo else links.popleft()
        real = os.path.realpath(os.path.join(root, place))
        if place and (real in seen or _contains(real, top)):
            found.repeated.append(place)
            continue
        seen.add(real)
        try:
            check_root(real)
            with os.scandir(real) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except StorageError:
            found.outside.append(place)
            continue
        except OSError:
            if not place:
                raise
            found.locked.append(place)
            continue
        found.folders += [place] if place else []
        for entry in entries:
            _classify(entry, os.path.join(place, entry.name), found, todo, links)
    return found


def _classify(
    entry: os.DirEntry[str], path: str, found: Scan, todo: list[str], links: deque[str]
) -> None:
    try:
        is_folder, is_file = entry.is_dir(), entry.is_file()
    except OSError:  # a loop of links
        is_folder = is_file = False
    if entry.name.startswith("."):
        found.hidden.append(f"{path}/" if is_folder else path)
    elif is_folder:
        (links if entry.is_symlink() else todo).append(path)
    elif is_file:
        found.files.append(path)
    else:
        (found.broken if entry.is_symlink() else found.special).append(path)


def _contains(folder: str, inner: str) -> bool:
    return os.path.commonpath([folder, inner]) == folder
