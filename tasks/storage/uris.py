"""Build, join and resolve URIs, by the rules of each scheme.

In local paths, `.`, `..` and `//` are resolved. Keys of an object store are plain text: `a//b`,
`a/./b` and `a/` are different keys, and `?`, `#` and `%` have no special meaning. `file://` URIs
are percent-encoded.
"""

import os
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

from schemas.text import has_control_characters
from tasks.errors import StorageError
from tasks.storage.policy import check_root, printable, roots_restricted, scheme

_PLAIN = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
"""Relative paths without scheme, dot segments or unusual characters, which only need joining."""
_S3_PLACE = re.compile(
    r"(arn:aws[a-z-]*:s3[a-z-]*:[a-z0-9-]*:\d*:accesspoint[:/][A-Za-z0-9.-]+"
    r"|arn:aws[a-z-]*:s3-outposts:[a-z0-9-]*:\d*:outpost[:/][A-Za-z0-9-]+[:/](?:accesspoint|bucket)"
    r"[:/][A-Za-z0-9-]+|[A-Za-z0-9][A-Za-z0-9._-]*)(?:/(.*))?",
    re.DOTALL,
)
"""Bucket or ARN of an access point, and key."""
_WINDOWS = re.compile(r"(?:^|/)[A-Za-z]:[/\\]|\\\\")
_FILE = "file://"


def absolute(uri: str) -> str:
    """Return the absolute URI of a file, an object or a folder.

    The URI of a local file is its plain path, or a `file://` URI if its name is not UTF-8 or has
    control characters. Keys of object stores are not changed.

    Raises:
        StorageError: the URI may not be opened (see `tasks.storage.policy`), or names no bucket.
    """
    kind = scheme(uri)
    if kind == "s3":
        rest = uri[len("s3://") :]
        bucket_and_key(rest)
        return f"s3://{rest}"
    if kind == "file":
        return local_uri(_file_uri_path(uri))
    return uri if kind else local_uri(_expand_user(uri))


def folder_uri(uri: str) -> str:
    """Return the absolute URI of a folder without the final slash.

    Of two final slashes one stays, because `a//` and `a/` are different prefixes on an object
    store.

    Raises:
        The errors of :func:`absolute`.
    """
    return _without_slash(absolute(uri))


def local_uri(path: str) -> str:
    """Return the absolute URI of a local path (see :func:`absolute`).

    Raises:
        StorageError: it lies outside the allowed folders.
    """
    place = os.path.abspath(path)
    check_root(place)
    return _FILE + quote(os.fsencode(place)) if has_control_characters(place) else place


def is_local(uri: str) -> bool:
    """Tell whether an absolute URI names a local file."""
    return "://" not in uri or uri.startswith(_FILE)


def local_path(uri: str) -> str:
    """Return the path of a local file's absolute URI."""
    if not uri.startswith(_FILE):
        return uri
    return os.fsdecode(unquote_to_bytes(uri.removeprefix(_FILE)))


def bucket_and_key(place: str) -> tuple[str, str]:
    """Split an S3 URI, without its `s3://`, into bucket (or access point) and key.

    Raises:
        StorageError: it names no bucket.
    """
    found = _S3_PLACE.fullmatch(place)
    if not found:
        raise StorageError(f"{printable(f's3://{place}')} names no bucket; write s3://BUCKET/KEY")
    return found.group(1), found.group(2) or ""


def prefix(folder_uri: str) -> str:
    """Return the common prefix of all URIs below a folder: its URI with a final slash."""
    return folder_uri if folder_uri.endswith("/") else f"{folder_uri}/"


def join(base: str, *parts: str) -> str:
    """Return the URI of `parts` below the folder `base`; parts are not interpreted."""
    for part in parts:
        base = prefix(base) + (quote(os.fsencode(part)) if base.startswith(_FILE) else part)
    return base


def parent(uri: str) -> str:
    """Return the folder that contains `uri`; for a bucket, the bucket itself.

    Raises:
        The errors of :func:`absolute`.
    """
    place = absolute(uri)
    if not is_local(place) and "/" not in place.partition("://")[2]:
        return place
    return _without_slash(place[: place.rindex("/") + 1])


def stem(uri: str) -> str:
    """Return the name of a file without its suffix."""
    return os.path.splitext(uri.rpartition("/")[2])[0]


def resolve(uri: str, manifest_uri: str) -> str:
    """Return a URI of a manifest made absolute; relative paths start at the manifest's folder.

    `/…`, `~/…` and `file://` always name local files, even in a manifest on an object store.

    Args:
        uri: The text in the manifest.
        manifest_uri: Absolute URI of the manifest.

    Raises:
        StorageError: the URI may not be opened (see `tasks.storage.policy`).
    """
    if scheme(uri) or uri.startswith(("/", "~/")) or uri == "~":
        return absolute(uri)
    if is_local(manifest_uri):
        return local_uri(_find_spelling(os.path.dirname(local_path(manifest_uri)), uri))
    start, _, place = manifest_uri.partition("://")
    host, key = bucket_and_key(place) if start == "s3" else place.partition("/")[::2]
    return absolute(f"{start}://{host}/{_joined_key(key, uri)}")


def resolver(manifest_uri: str) -> Callable[[str], str]:
    """Return :func:`resolve` for one manifest, fast for plain relative paths.

    A large manifest has a million rows, which share the URI of its folder.
    """
    if roots_restricted():  # each path is checked, with links resolved
        return lambda uri: resolve(uri, manifest_uri)
    base = resolve("x", manifest_uri)[:-1]
    return lambda uri: base + uri if _PLAIN.fullmatch(uri) else resolve(uri, manifest_uri)


def shortener(manifest_uri: str) -> Callable[[str], str]:
    """Return a function that makes absolute URIs relative to a manifest.

    A URI stays absolute if :func:`resolve` would not give it back. Relative URIs allow the manifest
    to be moved together with its files.
    """
    base, resolve_row = prefix(parent(manifest_uri)), resolver(absolute(manifest_uri))

    def shorten(uri: str) -> str:
        if not uri.startswith(base) or uri.startswith(_FILE):
            return uri
        short = uri.removeprefix(base)
        if not short or short.startswith("/"):
            return uri
        texts = (text for text in (short, f"./{short}") if _resolves_to(text, uri, resolve_row))
        return next(texts, uri)

    return shorten


def spelling_hint(uri: str) -> str:
    """Return a likely reason, in parentheses, why a path does not exist; empty without a clue."""
    name = uri if is_local(uri) else uri.partition("://")[2]
    if _WINDOWS.search(name):
        return " (a Windows path; copy the files here and write their path on this machine)"
    if "\\" in name:
        return " (backslashes are part of the name; write / between folders)"
    if unicodedata.normalize("NFC", name) != unicodedata.normalize("NFD", name):
        return " (its accents may be encoded differently: NFC and NFD are two different names)"
    if re.search("%[0-9A-Fa-f]{2}", name) and not uri.startswith(_FILE):
        return " (paths are not percent-encoded; write a space instead of %20)"
    return ""


def _resolves_to(text: str, uri: str, resolve_row: Callable[[str], str]) -> bool:
    try:
        return resolve_row(text) == uri
    except StorageError:
        return False


def _joined_key(key: str, text: str) -> str:
    """Resolve a relative path against a key; `..` does not lead out of the bucket."""
    kept = key.split("/")[:-1]
    for segment in text.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)


def _find_spelling(home: str, text: str) -> str:
    """Return the local path of a relative one, in the spelling of the existing file.

    Manifests from Windows have backslashes, and other systems may encode accents differently. A
    path that exists as written is not changed.
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


def _expand_user(path: str) -> str:
    """Expand `~` in a path from the command line, unless a file has that name."""
    return path if path.startswith("~") and os.path.exists(path) else os.path.expanduser(path)


def _file_uri_path(uri: str) -> str:
    rest = uri[len("file:") :]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host.lower() not in ("", "localhost") or not slash:
            raise StorageError(
                f"{printable(uri)} names a host, which is not supported; write file:///absolute/path"
            )
        rest = f"/{rest}"
    path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path:
        raise StorageError(f"{printable(uri)} contains a NUL character; correct it")
    return path


def _without_slash(place: str) -> str:
    cut = place[:-1]
    return cut if place.endswith("/") and cut and not cut.endswith("/") else place
