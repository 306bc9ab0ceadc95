"""Objects on S3 and on servers that speak its language (through s3fs, never pyarrow's writer)."""

import hashlib
import os
import re
from base64 import b64encode
from itertools import groupby
from typing import Any

from tasks.backend import Stat, check_size
from tasks.errors import AlreadyThere
from tasks.faults import store_code

_MD5 = re.compile(r"[0-9a-f]{32}")
_FEW = 50
"""Objects that are asked for one by one rather than by lists of a thousand names."""
_LARGEST_PUT = 5 * 2**30


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

    def stat(self, path: str) -> Stat:
        """Describe one object."""
        info = self._fs.info(path)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        return Stat(int(info["size"]), _etag(info))

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Describe objects by lists of their names, where those hold much of what is asked for.

        A catalog's photos mostly lie side by side: a thousand then cost one request. Whatever the
        lists do not show is left out, so that a server with an order of its own misleads nobody.
        """
        found: dict[str, Stat] = {}
        for bucket, group in groupby(sorted(paths), key=lambda path: path.partition("/")[0]):
            keys = [path.partition("/")[2] for path in group]
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
                found |= {f"{bucket}/{key}": there[key] for key in wanted if key in there}
                if len(wanted) < _FEW:
                    break
                begin += len(wanted)
        return found

    def read(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        """Return all bytes and what they are, in one request."""
        from fsspec.asyn import sync

        data, stat = sync(self._fs.loop, self._get, path, limit)
        return data, stat

    async def _get(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        bucket, key, _ = self._fs.split_path(path)
        if not key:
            raise FileNotFoundError(path)
        answer = await self._fs._call_s3("get_object", Bucket=bucket, Key=key)
        body, size = answer["Body"], int(answer["ContentLength"])
        try:
            check_size(f"s3://{path}", size, limit)
            data = await body.read()
        finally:
            body.close()
        if len(data) != size:
            raise ConnectionError(f"{len(data)} of {size} bytes arrived")
        return data, Stat(size, _etag(answer))

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Send a single PUT up to the largest size that S3 takes that way; the server checks it."""
        md5 = hashlib.md5(data, usedforsecurity=False)
        more = {"ContentMD5": b64encode(md5.digest()).decode()} if len(data) < _LARGEST_PUT else {}
        try:
            answer = self._put(path, data, new, more)
        except OSError as error:
            code = store_code(error)
            if new and code in ("PreconditionFailed", "412"):
                raise AlreadyThere(path) from error
            if not new or code not in ("NotImplemented", "501"):
                raise
            answer = self._put(path, data, False, more)  # a server that knows no conditions
        etag = _etag(answer or {})
        return bool(_MD5.fullmatch(etag)) and etag == md5.hexdigest()

    def _put(self, path: str, data: bytes, new: bool, more: dict[str, str]) -> Any:
        mode = "create" if new else "overwrite"
        return self._fs.pipe_file(path, data, chunksize=_LARGEST_PUT, mode=mode, **more)

    def delete(self, path: str) -> None:
        """Remove one object."""
        self._fs.rm_file(path)

    def names(self, path: str) -> list[str]:
        """Names of the objects directly below a prefix."""
        try:
            found = self._fs.ls(path, detail=True, refresh=True)
        except FileNotFoundError:
            return []
        files = [entry for entry in found if entry["type"] == "file" and entry["name"] != path]
        return [entry["name"].rsplit("/", 1)[-1] for entry in files]

    def folders(self, path: str) -> list[str]:
        """Names of the prefixes directly below a prefix."""
        try:
            found = self._fs.ls(path, detail=True, refresh=True)
        except FileNotFoundError:
            return []
        below = [entry["name"] for entry in found if entry["type"] == "directory"]
        return [name.rstrip("/").rsplit("/", 1)[-1] for name in below]

    def walk(self, path: str) -> dict[str, int]:
        """Relative path to size of all objects below a prefix."""
        try:
            found = self._fs.find(path, detail=True)
        except FileNotFoundError:
            return {}
        base = path.rstrip("/") + "/"
        return {
            name.removeprefix(base): int(info["size"])
            for name, info in found.items()
            if name.startswith(base)
        }


def _etag(answer: dict[str, Any]) -> str:
    return str(answer.get("ETag") or "").strip('"')
