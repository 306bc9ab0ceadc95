"""Objects on S3 and on servers that speak its language (through s3fs, never pyarrow's writer)."""

import hashlib
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from tasks.backend import Stat, check_size
from tasks.errors import AlreadyThere
from tasks.faults import store_code
from tasks.uris import bucket_and_key, prefix

_MD5 = re.compile(r"[0-9a-f]{32}")
_FEW = 50
"""Objects that are asked for one by one rather than by lists of a thousand names."""


class ObjectStore:
    """Objects behind an s3fs file system; one PUT each, so they appear whole."""

    def __init__(self, endpoint: str = "") -> None:
        """Connect to AWS or, when named, to another server; keys come from the environment."""
        import s3fs

        config: dict[str, Any] = {
            "retries": {"mode": "standard", "max_attempts": 8},
            "connect_timeout": 10,
            "read_timeout": 30,
        }
        if endpoint:
            config["s3"] = {"addressing_style": "path"}
            # botocore's newer default checksums are refused, or stored as data, by many servers.
            os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
            os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        self._fs: Any = s3fs.S3FileSystem(
            endpoint_url=endpoint or None,
            config_kwargs=config,
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        self._fs.retries = 1  # botocore tries again what it sent, `tasks.retry` all the rest
        self._gives_md5: dict[str, bool] = {}

    def stat(self, path: str) -> Stat:
        """Describe one object."""
        found = self._fs.call_s3("head_object", **_named(path))
        return Stat(int(found["ContentLength"]), _etag(found))

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Describe objects by lists of their names, where those hold much of what is asked for.

        A catalog's photos mostly lie side by side: a thousand then cost one request. Whatever the
        lists do not show is left out, so that a server with an order of its own misleads nobody.
        """
        found: dict[str, Stat] = {}
        places = sorted((*bucket_and_key(path), path) for path in paths)
        for bucket, group in groupby(places, key=lambda place: place[0]):
            path_of = {key: path for _, key, path in group}
            keys = list(path_of)
            prefix = os.path.commonprefix([keys[0], keys[-1]])  # noqa: RUF071 - of names, not paths
            begin = 0
            while len(keys) - begin > _FEW:
                # starts just before the first key that is wanted
                page = self._fs.call_s3(
                    "list_objects_v2", Bucket=bucket, Prefix=prefix, StartAfter=keys[begin][:-1]
                ).get("Contents", [])
                there = {entry["Key"]: Stat(int(entry["Size"]), _etag(entry)) for entry in page}
                last = max(there, default="")
                wanted = [key for key in keys[begin:] if key <= last]
                found |= {path_of[key]: there[key] for key in wanted if key in there}
                if len(wanted) < _FEW:
                    break
                begin += len(wanted)
        return found

    def read(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        """Return all bytes and what they are, in one request.

        An ETag that is an MD5 tells of bytes that were damaged on their way. Some stores give
        ETags of the same form that are something else: in a bucket where none was right yet, two
        reads that are alike show that.
        """
        data, answer = self._got(path, limit)
        etag, (bucket, _) = _etag(answer), bucket_and_key(path)
        if _may_be_md5(answer) and self._gives_md5.get(bucket, True):
            right = _md5(data) == etag
            if not right and (bucket in self._gives_md5 or self._got(path, limit)[0] != data):
                raise ConnectionError("its bytes are not those of its ETag")
            self._gives_md5.setdefault(bucket, right)
        return data, Stat(len(data), etag)

    def _got(self, path: str, limit: int | None) -> tuple[bytes, dict[str, Any]]:
        from fsspec.asyn import sync

        data, answer = sync(self._fs.loop, self._get, path, limit)
        return data, answer

    async def _get(self, path: str, limit: int | None) -> tuple[bytes, dict[str, Any]]:
        answer = await self._fs._call_s3("get_object", **_named(path))
        body, size = answer["Body"], int(answer["ContentLength"])
        try:
            check_size(f"s3://{path}", size, limit)
            data = await body.read()
        finally:
            body.close()
        if len(data) != size:
            raise ConnectionError(f"{len(data)} of {size} bytes arrived")
        return data, answer

    def sha256(self, path: str, limit: int) -> str:
        """Return the hash of all bytes as hex digits."""
        return hashlib.sha256(self.read(path, limit)[0]).hexdigest()

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Send a single PUT, which the server checks; S3 takes 5 GB at most that way."""
        md5 = _md5(data)
        more = {"ContentMD5": b64encode(bytes.fromhex(md5)).decode()}
        try:
            answer = self._put(path, data, new, more)
        except OSError as error:
            code = store_code(error)
            if new and code in ("PreconditionFailed", "412"):
                raise AlreadyThere(path) from error
            if not new or code not in ("NotImplemented", "501"):
                raise
            answer = self._put(path, data, False, more)  # a server that knows no conditions
        arrived = _etag(answer or {}) == md5
        if arrived:
            self._gives_md5[bucket_and_key(path)[0]] = True
        return arrived

    def _put(self, path: str, data: bytes, new: bool, more: dict[str, str]) -> Any:
        condition = {"IfNoneMatch": "*"} if new else {}
        return self._fs.call_s3("put_object", Body=data, **_named(path), **condition, **more)

    def delete(self, path: str) -> None:
        """Remove one object."""
        self._fs.call_s3("delete_object", **_named(path))

    def names(self, path: str) -> list[str]:
        """Names of the objects directly below a prefix."""
        try:
            return [name for name, _ in self._listed(path, Delimiter="/")]
        except FileNotFoundError:
            return []

    def folders(self, path: str) -> list[str]:
        """Names of the prefixes directly below a prefix."""
        try:
            pages = list(self._pages(path, Delimiter="/"))
        except FileNotFoundError:
            return []
        found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        return [name.removesuffix("/").rpartition("/")[2] for name in found]

    def walk(self, path: str) -> dict[str, int]:
        """Relative path to size of all objects below a prefix."""
        return dict(self._listed(path))

    def _listed(self, path: str, **options: str) -> Iterator[tuple[str, int]]:
        """Yield what follows the prefix in each key, and the object's size, page by page."""
        for page in self._pages(path, **options):
            start = page["Prefix"]
            for entry in page.get("Contents", []):
                if entry["Key"] != start:  # an empty object that stands for the folder
                    yield entry["Key"].removeprefix(start), int(entry["Size"])

    def _pages(self, path: str, **options: str) -> Iterator[dict[str, Any]]:
        """Yield the pages of a list of objects below a prefix, which each page names."""
        bucket, key = bucket_and_key(path)
        start = prefix(key) if key else ""
        request = {"Bucket": bucket, "Prefix": start, **options}
        while True:
            page = self._fs.call_s3("list_objects_v2", **request)
            yield {**page, "Prefix": start}
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]


def _named(path: str) -> dict[str, str]:
    """Return the words that name one object in a request, its key as it is written.

    s3fs's own methods take a path apart, by rules that some keys do not survive.
    """
    bucket, key = bucket_and_key(path)
    if not key:
        raise FileNotFoundError(path)
    return {"Bucket": bucket, "Key": key}


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _may_be_md5(answer: dict[str, Any]) -> bool:
    """Tell whether an ETag has the form of an MD5, and is not said to be none.

    Those of objects in parts end in the number of parts; of objects under a key of the customer's,
    AWS hashes what is encrypted.
    """
    encrypted = str(answer.get("ServerSideEncryption", "")).startswith("aws:")
    customers = answer.get("SSECustomerAlgorithm")
    return bool(_MD5.fullmatch(_etag(answer))) and not (encrypted or customers)


def _etag(answer: dict[str, Any]) -> str:
    return str(answer.get("ETag") or "").strip('"')
