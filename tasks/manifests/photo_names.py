"""Make ids from the paths of images in a folder: products and views, galleries and styles.

Ids are unique for all file names, so no photo replaces another.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from schemas.manifest import UNSEEN

MAIN = "main"
"""View of a photo outside all product folders."""
_MAX_ID = 100
_NO_TEXT = re.compile(f"[{UNSEEN}\ud800-\udfff]")


class Ids(NamedTuple):
    """Two ids for each path, and the paths whose ids differ from their names."""

    by_path: dict[str, tuple[str, str]]
    renamed: list[str]


def printable_name(name: str) -> str:
    """Return a local name as text; bytes that are not UTF-8 are percent-encoded."""
    return _NO_TEXT.sub(lambda found: quote(os.fsencode(found.group())), name)


def name_products_and_views(paths: Iterable[str]) -> Ids:
    """Return product id and view of each photo, by relative path.

    Each folder is a product, and its photos are the views; the product id is the folder's path with
    dashes instead of slashes. A photo outside all folders is the view `main` of a product of its
    own, or of the product whose folder has the photo's name.
    """
    folders: dict[str, dict[str, str]] = {}
    for path in paths:
        head, _, name = path.rpartition("/")
        folders.setdefault(head if head.strip("/") else "", {})[path] = name
    loose = folders.pop("", {})
    products = _distinct(loose)
    found = {path: (product, MAIN) for path, product in products.items()}
    renamed = [path for path in loose if products[path] != as_id(_stem(loose[path]))]
    by_stem = {_stem(loose[path]): product for path, product in products.items()}
    taken = set(products.values())
    for folder, names in sorted(folders.items()):
        views, plain = _distinct(names), as_id(folder)
        joins = by_stem.get(folder) == plain and MAIN not in views.values()
        product = plain if joins else _unused_name(plain, taken)
        taken.add(product)
        for path, view in views.items():
            found[path] = (product, view)
            renamed += [path] if found[path] != (plain, as_id(_stem(names[path]))) else []
    return Ids(found, renamed)


def name_galleries_and_styles(paths: Iterable[str], own: str) -> Ids:
    """Return gallery id and style id of each reference, by relative path.

    Args:
        paths: Relative paths of the references; each top-level folder is a gallery with all images
            below it.
        own: Name of the gallery of images outside all folders.
    """
    folders: dict[str, dict[str, str]] = {}
    for path in paths:
        head, slash, rest = path.partition("/")
        folders.setdefault(head if slash else "", {})[path] = rest if slash else path
    found, renamed = dict[str, tuple[str, str]](), list[str]()
    taken = set[str]()
    # Images outside all folders come last, so folders keep their names.
    for folder, names in sorted(folders.items(), key=lambda item: (not item[0], item[0])):
        styles, plain = _distinct(names), as_id(folder) or as_id(own) or "gallery"
        gallery = _unused_name(plain, taken)
        taken.add(gallery)
        for path, style in styles.items():
            found[path] = (gallery, style)
            renamed += [path] if found[path] != (plain, as_id(_stem(names[path]))) else []
    return Ids(found, renamed)


def as_id(path: str) -> str:
    """Return a path as an id: a short, readable, single path segment."""
    text = re.sub(r"[/\\]+", "-", printable_name(path).strip("/"))
    if text and not text.strip("."):
        return text.replace(".", "-")
    if len(text.encode()) <= _MAX_ID:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text.encode()[: _MAX_ID - 9].decode(errors='ignore')}-{digest}"


def _distinct(names: dict[str, str]) -> dict[str, str]:
    """Return a unique id for each name: its stem, with the suffix if stems are equal."""
    stems = {path: as_id(_stem(name)) for path, name in names.items()}
    counts = Counter(stems.values())
    taken = {stem for stem, count in counts.items() if count == 1}
    ids = {}
    for path, stem in stems.items():
        ids[path] = stem
        if counts[stem] > 1:
            name = f"{stem}-{os.path.splitext(names[path])[1][1:].lower()}"
            ids[path] = _unused_name(stem, {*taken, stem}) if name in taken else name
            taken.add(ids[path])
    return ids


def _unused_name(name: str, taken: set[str]) -> str:
    """Return `name`, with a number if it is taken."""
    number, found = 2, name
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]
