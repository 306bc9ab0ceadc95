"""Access policy: which URIs may be opened.

Manifests are untrusted. They must not make our machines send requests to arbitrary addresses, read
files outside the folders that the operator allows, or put credentials into records and logs. Local
files and S3 are always allowed; the operator may allow more by environment variables.
"""

import ipaddress
import os
import re
import socket
from urllib.parse import urlsplit

from schemas.text import has_control_characters, one_line
from tasks.errors import StorageError
from tasks.storage.redaction import redact

SCHEMES_VARIABLE = "STYLEGALLERY_ALLOWED_SCHEMES"
"""Further fsspec schemes, separated by commas, such as `gs,az`."""
ROOTS_VARIABLE = "STYLEGALLERY_ALLOWED_ROOTS"
"""Allowed folders, separated by `os.pathsep`; local files outside them are refused."""
OPERATOR_VARIABLES = (SCHEMES_VARIABLE, ROOTS_VARIABLE)

_ALWAYS = ("file", "s3")
_NEVER = ("http", "https")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,30}):(/{0,2})")
_CHAIN = re.compile(r"[^/]*::[^/]*://")
_UNDECODED = re.compile("[\udc80-\udcff]")
"""How Python decodes a byte of a local name that is not UTF-8."""
_METADATA_HOSTS = {"metadata", "metadata.google.internal", "instance-data"}
_METADATA_NETS = [ipaddress.ip_network(net) for net in ("169.254.0.0/16", "fe80::/10")]
_METADATA_NETS.append(ipaddress.ip_network("fd00:ec2::254/128"))


def scheme(uri: str) -> str:
    """Return `s3`, `file`, another allowed scheme, or empty for a plain path.

    A colon alone does not make a scheme: `red:1.png` and `dress::blue.png` are file names.

    Raises:
        StorageError: the URI may not be opened; the message hides credentials.
    """
    found = _SCHEME.match(uri)
    name, slashes = (found.group(1).lower(), found.group(2)) if found else ("", "")
    known = {*_ALWAYS, *_NEVER, *_allowed()}
    is_path = not found or (slashes != "//" and name not in known)
    check_characters(uri, is_path=is_path)
    if _CHAIN.match(uri):
        raise StorageError(f"{printable(uri)} chains schemes by `::`, which is not supported")
    if is_path:
        return ""
    if name in _NEVER:
        raise StorageError(
            f"{printable(uri)} starts with {name}:, which is not supported, because manifests "
            "must not send requests to other hosts; copy the file to a local path or s3://"
        )
    if name not in known:
        raise StorageError(
            f"{printable(uri)} starts with {name}:, which is not supported; use a local path, "
            f"file:// or s3://, or have the operator add {name} to {SCHEMES_VARIABLE}"
        )
    if slashes != "//" and not (name == "file" and slashes):
        raise StorageError(
            f"{printable(uri)} lacks the slashes of a URI; write {name}://, or ./ before a file "
            "name"
        )
    if "@" in _host_part(uri):
        raise StorageError(
            f"{printable(uri)} contains a user name or password; remove it and set credentials in "
            "the environment"
        )
    if name not in _ALWAYS:
        _check_host(uri)
    return name


def check_characters(uri: str, *, is_path: bool) -> None:
    """Check that a URI has no control characters; a plain path may have undecoded bytes.

    Raises:
        StorageError: it has one.
    """
    if has_control_characters(_UNDECODED.sub("", uri) if is_path else uri):
        raise StorageError(f"{printable(uri)} contains a control character; remove it")


def roots_restricted() -> bool:
    """Tell whether STYLEGALLERY_ALLOWED_ROOTS restricts local files to some folders."""
    return bool(os.environ.get(ROOTS_VARIABLE, "").strip(os.pathsep))


def check_root(path: str) -> None:
    """Check that a local path, with links resolved, lies inside the allowed folders.

    Raises:
        StorageError: it lies outside.
    """
    if roots_restricted():
        root_and_place(path)


def root_and_place(path: str) -> tuple[str, str]:
    """Return the allowed folder that contains a path, and the path relative to it, links resolved.

    Raises:
        StorageError: no allowed folder contains it.
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
    """Return a URI for a message: on one line, without secrets and control characters."""
    return one_line(re.sub(r"(?<=://)[^/@\s]+@", "***@", redact(uri)), 300)


def _allowed() -> set[str]:
    return {name.strip().lower() for name in os.environ.get(SCHEMES_VARIABLE, "").split(",")}


def _host_part(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0]


def _check_host(uri: str) -> None:
    try:
        host = (urlsplit(uri).hostname or "").rstrip(".").lower()
    except ValueError as error:
        raise StorageError(f"{printable(uri)} is not a valid URI ({error}); correct it") from error
    address = _address(host)
    if host in _METADATA_HOSTS or (address and any(address in net for net in _METADATA_NETS)):
        raise StorageError(
            f"{printable(uri)} names the host of a cloud metadata service, which is not allowed"
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that a host name spells out in any notation; None for other names."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        try:  # 0xA9FEA9FE, 2852039166, 0251.0376.0251.0376
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
