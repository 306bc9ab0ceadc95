"""What a URI means: absolute, relative to a manifest, below a folder; each scheme by its own rules.

Local paths follow the file system, where `.`, `..` and `//` are resolved. A key of an object store
is text: `a//b`, `a/./b` and `a/` are keys of their own, `?`, `#` and `%` stand for themselves, and
nothing in a key ever leads to a local file. `file://` URIs are percent-encoded.
"""

import os
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

from schemas.text import has_control_characters
from tasks.errors import StorageError
from tasks.storage.policy import check_root, fenced, printable, scheme

_PLAIN = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
"""Relative paths that need no second look: no scheme, no dot segments, no unusual character."""
_S3_PLACE = re.compile(
    r"(arn:aws[a-z-]*:s3[a-z-]*:[a-z0-9-]*:\d*:accesspoint[:/][A-Za-z0-9.-]+"
    r"|arn:aws[a-z-]*:s3-outposts:[a-z0-9-]*:\d*:outpost[:/][A-Za-z0-9-]+[:/](?:accesspoint|bucket)"
    r"[:/][A-Za-z0-9-]+|[A-Za-z0-9][A-Za-z0-9._-]*)(?:/(.*))?",
    re.DOTALL,
)
"""Bucket, or ARN of an access point, and key."""
_WINDOWS = re.compile(r"(?:^|/)[A-Za-z]:[/\\]|\\\\")
_FILE = "file://"


def absolute(uri: str) -> str:
    """Return the absolute URI of a file, an object or a folder.

    A local file is named by its plain path, or, where its name is no text (not UTF-8, control
    characters), by a `file://` URI. Keys of object stores are left as they are.

    Raises:
        StorageError: the URI is none that may be opened (see `tasks.storage.policy`), or names no
        bucket.
    """
    kind = scheme(uri)
    if kind == "s3":
        rest = uri[len("s3://") :]
        bucket_and_key(rest)
        return f"s3://{rest}"
    if kind == "file":
        return of_local(_path_of(uri))
    return uri if kind else of_local(_expanded(uri))


def folder(uri: str) -> str:
    """Return the absolute URI of a folder without the slash that ends it.

    Of two slashes at the end the last stays: on an object store `a//` holds other keys than `a/`.

    Raises:
        As :func:`absolute`.
    """
    return _without_slash(absolute(uri))


def of_local(path: str) -> str:
    """Return the absolute URI of a local path (see :func:`absolute`).

    Raises:
        StorageError: it lies outside the operator's folders.
    """
    place = os.path.abspath(path)
    check_root(place)
    return _FILE + quote(os.fsencode(place)) if has_control_characters(place) else place


def is_local(uri: str) -> bool:
    """Tell whether an absolute URI names a file of this machine."""
    return "://" not in uri or uri.startswith(_FILE)


def local_path(uri: str) -> str:
    """Return the path that the absolute URI of a local file names."""
    if not uri.startswith(_FILE):
        return uri
    return os.fsdecode(unquote_to_bytes(uri.removeprefix(_FILE)))


def bucket_and_key(place: str) -> tuple[str, str]:
    """Split an S3 URI without its `s3://` into bucket (or access point) and key.

    Raises:
        StorageError: it names no bucket.
    """
    found = _S3_PLACE.fullmatch(place)
    if not found:
        raise StorageError(f"{printable(f's3://{place}')} names no bucket; write s3://BUCKET/KEY")
    return found.group(1), found.group(2) or ""


def prefix(folder_uri: str) -> str:
    """Return what the URIs of everything below a folder start with."""
    return folder_uri if folder_uri.endswith("/") else f"{folder_uri}/"


def join(base: str, *parts: str) -> str:
    """Return the URI of `parts` below the folder `base`, whatever they start with."""
    for part in parts:
        base = prefix(base) + (quote(os.fsencode(part)) if base.startswith(_FILE) else part)
    return base


def parent(uri: str) -> str:
    """Return the folder that holds `uri`; a bucket is its own.

    Raises:
        As :func:`absolute`.
    """
    place = absolute(uri)
    if not is_local(place) and "/" not in place.partition("://")[2]:
        return place
    return _without_slash(place[: place.rindex("/") + 1])


def stem(uri: str) -> str:
    """Return the name of a file without its ending."""
    return os.path.splitext(uri.rpartition("/")[2])[0]


def resolve(uri: str, manifest_uri: str) -> str:
    """Return `uri` made absolute; a relative path starts at the folder of the manifest.

    `/…`, `~/…` and `file://` name files of the machine that reads the manifest, wherever that lies.

    Args:
        uri: As a manifest has it.
        manifest_uri: Where that manifest lies, absolute.

    Raises:
        StorageError: the URI is none that may be opened (see `tasks.storage.policy`).
    """
    if scheme(uri) or uri.startswith(("/", "~/")) or uri == "~":
        return absolute(uri)
    if is_local(manifest_uri):
        return of_local(_as_on_disk(os.path.dirname(local_path(manifest_uri)), uri))
    start, _, place = manifest_uri.partition("://")
    host, key = bucket_and_key(place) if start == "s3" else place.partition("/")[::2]
    return absolute(f"{start}://{host}/{_merged(key, uri)}")


def resolver(manifest_uri: str) -> Callable[[str], str]:
    """Return :func:`resolve` for one manifest, which is quick with plain relative paths.

    The million rows of a large manifest share what stands before them.
    """
    if fenced():  # each place is looked at, links included
        return lambda uri: resolve(uri, manifest_uri)
    base = resolve("x", manifest_uri)[:-1]
    return lambda uri: base + uri if _PLAIN.fullmatch(uri) else resolve(uri, manifest_uri)


def shortener(manifest_uri: str) -> Callable[[str], str]:
    """Return a function that writes an absolute URI as a row of this manifest.

    The row is relative where that means the same to :func:`resolve`, so that the manifest moves
    together with its files; else it is the absolute URI.
    """
    base, resolve_row = prefix(parent(manifest_uri)), resolver(absolute(manifest_uri))

    def shorten(uri: str) -> str:
        if not uri.startswith(base) or uri.startswith(_FILE):
            return uri
        short = uri.removeprefix(base)
        if not short or short.startswith("/"):
            return uri
        texts = (text for text in (short, f"./{short}") if _means(text, uri, resolve_row))
        return next(texts, uri)

    return shorten


def spelling_hint(uri: str) -> str:
    """Return in parentheses how a path that names nothing may be misspelt, if there is a clue."""
    name = uri if is_local(uri) else uri.partition("://")[2]
    if _WINDOWS.search(name):
        return " (a path of Windows; copy the files here and write their path on this machine)"
    if "\\" in name:
        return " (its backslashes belong to the name; write / between folders)"
    if unicodedata.normalize("NFC", name) != unicodedata.normalize("NFD", name):
        return " (its accents may be encoded otherwise there: NFC and NFD are two names)"
    if re.search("%[0-9A-Fa-f]{2}", name) and not uri.startswith(_FILE):
        return " (a path is not percent-encoded; write %20 as a space, and the like)"
    return ""


def _means(text: str, uri: str, resolve_row: Callable[[str], str]) -> bool:
    try:
        return resolve_row(text) == uri
    except StorageError:
        return False


def _merged(key: str, text: str) -> str:
    """Return the key that a relative path names beside `key`; `..` ends at the bucket."""
    kept = key.split("/")[:-1]
    for segment in text.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)


def _as_on_disk(home: str, text: str) -> str:
    """Return the local path of a relative one, spelt as its file is.

    Tables made on Windows have backslashes, and those of other systems may encode accents
    otherwise. What is there as it is written stays so.
    """
    place = os.path.join(home, text)
    if (text.isascii() and "\\" not in text) or os.path.exists(place):
        return place
    slashed = text.replace("\\", "/")
    forms = [text, slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))]
    if slashed.startswith("/"):
        forms = [text]
    places = (os.path.join(home, form) for form in forms)
    return next(filter(os.path.exists, places), place)


def _expanded(path: str) -> str:
    """Return a path from the command line with its `~`, unless a file has just that name."""
    return path if path.startswith("~") and os.path.exists(path) else os.path.expanduser(path)


def _path_of(uri: str) -> str:
    rest = uri[len("file:") :]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host.lower() not in ("", "localhost") or not slash:
            raise StorageError(f"{printable(uri)} names a host; write file:///absolute/path")
        rest = f"/{rest}"
    path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path:
        raise StorageError(f"{printable(uri)} holds a NUL, which no file name has; correct it")
    return path


def _without_slash(place: str) -> str:
    cut = place[:-1]
    return cut if place.endswith("/") and cut and not cut.endswith("/") else place
