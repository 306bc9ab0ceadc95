"""Which URIs may be opened: local files and S3, and whatever else this machine's operator allows.

A manifest comes from somebody else. It must not make our machines call addresses of its choosing,
read files that the operator fenced off, or carry credentials into records and logs.
"""

import ipaddress
import os
import re
import socket
from urllib.parse import urlsplit

from stylegallery.wording import has_unseen, one_line
from tasks.errors import StorageError
from tasks.redact import redacted

SCHEMES_VARIABLE = "STYLEGALLERY_ALLOWED_SCHEMES"
"""Further fsspec schemes, separated by commas, such as `gs,az`."""
ROOTS_VARIABLE = "STYLEGALLERY_ALLOWED_ROOTS"
"""Folders, separated by the system's path separator; local files outside them are refused."""
OPERATOR_VARIABLES = (SCHEMES_VARIABLE, ROOTS_VARIABLE)

_ALWAYS = ("file", "s3")
_NEVER = ("http", "https")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,30}):(/{0,2})")
_CHAIN = re.compile(r"[^/]*::[^/]*://")
_UNDECODED = re.compile("[\udc80-\udcff]")
"""What Python makes of a byte in a local name that is not UTF-8."""
_METADATA_HOSTS = {"metadata", "metadata.google.internal", "instance-data"}
_METADATA_NETS = [ipaddress.ip_network(net) for net in ("169.254.0.0/16", "fe80::/10")]
_METADATA_NETS.append(ipaddress.ip_network("fd00:ec2::254/128"))


def scheme(uri: str) -> str:
    """Return `s3`, `file`, another scheme that the operator allows, or empty for a plain path.

    A colon alone makes no scheme: `red:1.png` and `dress::blue.png` are names of files.

    Raises:
        StorageError: the URI is none that may be opened; says why, without its secrets.
    """
    found = _SCHEME.match(uri)
    name, slashes = (found.group(1).lower(), found.group(2)) if found else ("", "")
    known = {*_ALWAYS, *_NEVER, *_allowed()}
    is_path = not found or (slashes != "//" and name not in known)
    if has_unseen(_UNDECODED.sub("", uri) if is_path else uri):
        raise StorageError(f"{printable(uri)} holds a control character; write the path without it")
    if _CHAIN.match(uri):
        raise StorageError(f"{printable(uri)} chains schemes by `::`, which is not supported")
    if is_path:
        return ""
    if name in _NEVER:
        raise StorageError(
            f"{printable(uri)} starts with {name}:, which is not supported: a manifest must not "
            "make our machines call an address; copy the file to a local path or s3://"
        )
    if name not in known:
        raise StorageError(
            f"{printable(uri)} starts with {name}:, which is not supported; use a local path, "
            f"file:// or s3://, or have the operator add {name} to {SCHEMES_VARIABLE}"
        )
    if slashes != "//" and not (name == "file" and slashes):
        raise StorageError(
            f"{printable(uri)} lacks the slashes of a URI; write {name}://, or ./ before the name "
            "of a file"
        )
    if "@" in _host_part(uri):
        raise StorageError(
            f"{printable(uri)} holds a user name or password; remove it, credentials come from "
            "the environment"
        )
    if name not in _ALWAYS:
        _check_host(uri)
    return name


def fenced() -> bool:
    """Tell whether the operator has fenced local files in."""
    return bool(os.environ.get(ROOTS_VARIABLE, "").strip(os.pathsep))


def check_root(path: str) -> None:
    """Refuse a local path outside the operator's folders; links are followed first.

    Raises:
        StorageError: it is outside.
    """
    if fenced():
        root_and_place(path)


def root_and_place(path: str) -> tuple[str, str]:
    """Return the operator's folder that a local path lies in, and its place there without links.

    Raises:
        StorageError: it lies in none.
    """
    roots = [root for root in os.environ[ROOTS_VARIABLE].split(os.pathsep) if root]
    real = os.path.realpath(path)
    for root in map(os.path.realpath, roots):
        if os.path.commonpath([root, real]) == root:
            return root, os.path.relpath(real, root)
    raise StorageError(
        f"{printable(path)} lies outside the folders that {ROOTS_VARIABLE} allows; move it there"
    )


def printable(uri: str) -> str:
    """Return a URI fit for a line of text: no secrets, no signs that change how the line reads."""
    return one_line(re.sub(r"(?<=://)[^/@\s]+@", "***@", redacted(uri)), 300)


def _allowed() -> set[str]:
    return {name.strip().lower() for name in os.environ.get(SCHEMES_VARIABLE, "").split(",")}


def _host_part(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0]


def _check_host(uri: str) -> None:
    try:
        host = (urlsplit(uri).hostname or "").rstrip(".").lower()
    except ValueError as error:
        raise StorageError(f"{printable(uri)} is no URI ({error}); correct it") from error
    address = _address(host)
    if host in _METADATA_HOSTS or (address and any(address in net for net in _METADATA_NETS)):
        raise StorageError(
            f"{printable(uri)} names the address of a machine's own metadata, which is refused"
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host spells out, in whichever notation."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        try:  # 0xA9FEA9FE, 2852039166, 0251.0376.0251.0376
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
