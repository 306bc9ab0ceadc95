"""Backend for S3 and compatible servers, through s3fs."""

import hashlib
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from tasks.errors import AlreadyExists
from tasks.storage.base import Stat, check_size
from tasks.storage.transient import s3_error_code
from tasks.storage.uris import bucket_and_key, prefix

_MD5 = re.compile(r"[0-9a-f]{32}")
_FEW = 50
"""Up to this many objects are looked up one by one instead of in listings of a thousand."""


class S3Store:
    """S3 objects. Each is written by a single PUT, so readers never see half an object."""

    def __init__(self, endpoint: str = "") -> None:
        """Connect to AWS or to the server at `endpoint`; credentials come from the environment."""
        import s3fs

        config: dict[str, Any] = {
            "retries": {"mode": "standard", "max_attempts": 8},
            "connect_timeout": 10,
            "read_timeout": 30,
        }
        if endpoint:
            config["s3"] = {"addressing_style": "path"}
            # Many servers refuse the checksums that botocore sends by default, or store them.
            os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
            os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        self._fs: Any = s3fs.S3FileSystem(
            endpoint_url=endpoint or None,
            config_kwargs=config,
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        self._fs.retries = 1  # botocore and `tasks.storage.transient` retry already
        self._gives_md5: dict[str, bool] = {}

    def stat(self, path: str) -> Stat:
        """Return size and ETag of an object."""
        found = self._fs.call_s3("head_object", **_object_arguments(path))
        return Stat(int(found["ContentLength"]), _etag(found))

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Return size and ETag of the objects that listings contain.

        The photos of a catalog mostly have a common prefix, so one request returns a thousand.
        Objects that a listing misses, such as those of a server with another sort order, are left
        out; the caller looks them up one by one.
        """
        found: dict[str, Stat] = {}
        places = sorted((*bucket_and_key(path), path) for path in paths)
        for bucket, group in groupby(places, key=lambda place: place[0]):
            path_of = {key: path for _, key, path in group}
            keys = list(path_of)
            prefix = os.path.commonprefix([keys[0], keys[-1]])  # noqa: RUF071 - of names, not paths
            begin = 0
            while len(keys) - begin > _FEW:
                # begins just before the first wanted key
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
        """Return all bytes with size and ETag, in one request.

        Bytes are compared with an ETag that is an MD5, to detect damage on the way. Some stores
        have ETags that look like an MD5 but are not: two equal reads that both differ from the
        ETag show this, for a bucket in which no ETag has matched yet.

        Raises:
            ConnectionError: the bytes differ from the ETag.
        """
        data, answer = self._got(path, limit)
        etag, (bucket, _) = _etag(answer), bucket_and_key(path)
        if _may_be_md5(answer) and self._gives_md5.get(bucket, True):
            right = _md5(data) == etag
            if not right and (bucket in self._gives_md5 or self._got(path, limit)[0] != data):
                raise ConnectionError("the bytes received differ from the ETag")
            self._gives_md5.setdefault(bucket, right)
        return data, Stat(len(data), etag)

    def _got(self, path: str, limit: int | None) -> tuple[bytes, dict[str, Any]]:
        from fsspec.asyn import sync

        data, answer = sync(self._fs.loop, self._get, path, limit)
        return data, answer

    async def _get(self, path: str, limit: int | None) -> tuple[bytes, dict[str, Any]]:
        answer = await self._fs._call_s3("get_object", **_object_arguments(path))
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
        """Return the SHA-256 in hex digits."""
        return hashlib.sha256(self.read(path, limit)[0]).hexdigest()

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Write an object by a single PUT of at most 5 GB, with an MD5 that the server checks."""
        md5 = _md5(data)
        more = {"ContentMD5": b64encode(bytes.fromhex(md5)).decode()}
        try:
            answer = self._put(path, data, new, more)
        except OSError as error:
            code = s3_error_code(error)
            if new and code in ("PreconditionFailed", "412"):
                raise AlreadyExists(path) from error
            if not new or code not in ("NotImplemented", "501"):
                raise
            answer = self._put(path, data, False, more)  # a server without conditional writes
        arrived = _etag(answer or {}) == md5
        if arrived:
            self._gives_md5[bucket_and_key(path)[0]] = True
        return arrived

    def _put(self, path: str, data: bytes, new: bool, more: dict[str, str]) -> Any:
        condition = {"IfNoneMatch": "*"} if new else {}
        return self._fs.call_s3(
            "put_object", Body=data, **_object_arguments(path), **condition, **more
        )

    def delete(self, path: str) -> None:
        """Delete one object."""
        self._fs.call_s3("delete_object", **_object_arguments(path))

    def names(self, path: str) -> list[str]:
        """Return the names of the objects directly below a prefix."""
        try:
            return [name for name, _ in self._listed(path, Delimiter="/")]
        except FileNotFoundError:
            return []

    def folders(self, path: str) -> list[str]:
        """Return the names of the prefixes directly below a prefix."""
        try:
            pages = list(self._pages(path, Delimiter="/"))
        except FileNotFoundError:
            return []
        found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        return [name.removesuffix("/").rpartition("/")[2] for name in found]

    def walk(self, path: str) -> dict[str, int]:
        """Return relative path to size of all objects below a prefix."""
        return dict(self._listed(path))

    def _listed(self, path: str, **options: str) -> Iterator[tuple[str, int]]:
        """Yield each key without the prefix, and the object's size."""
        for page in self._pages(path, **options):
            start = page["Prefix"]
            for entry in page.get("Contents", []):
                if entry["Key"] != start:  # an empty object as a placeholder for the folder
                    yield entry["Key"].removeprefix(start), int(entry["Size"])

    def _pages(self, path: str, **options: str) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing below a prefix; each page contains the prefix."""
        bucket, key = bucket_and_key(path)
        start = prefix(key) if key else ""
        request = {"Bucket": bucket, "Prefix": start, **options}
        while True:
            page = self._fs.call_s3("list_objects_v2", **request)
            yield {**page, "Prefix": start}
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]


def _object_arguments(path: str) -> dict[str, str]:
    """Return the request arguments that name one object.

    s3fs's own methods parse paths and change some keys, so they are not used.
    """
    bucket, key = bucket_and_key(path)
    if not key:
        raise FileNotFoundError(path)
    return {"Bucket": bucket, "Key": key}


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _may_be_md5(answer: dict[str, Any]) -> bool:
    """Tell whether the ETag of an answer may be the MD5 of the object.

    The ETag of a multipart upload is not: it ends in the number of parts. That of an object
    encrypted by KMS or a customer's key is not either.
    """
    encrypted = str(answer.get("ServerSideEncryption", "")).startswith("aws:")
    customers = answer.get("SSECustomerAlgorithm")
    return bool(_MD5.fullmatch(_etag(answer))) and not (encrypted or customers)


def _etag(answer: dict[str, Any]) -> str:
    return str(answer.get("ETag") or "").strip('"')
