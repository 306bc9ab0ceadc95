"""The test S3 server does what the storage code asks of S3."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from pyarrow.fs import S3FileSystem

from tests.s3_server import S3Server


@pytest.fixture
def fs(s3: S3Server) -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(**s3.storage_options)


def test_objects_come_back_as_written(s3: S3Server, fs: s3fs.S3FileSystem) -> None:
    uri = s3.uri("twin/object.bin")
    fs.pipe_file(uri, b"first")
    assert fs.cat_file(uri) == b"first"
    assert s3.file("twin/object.bin").read_bytes() == b"first"
    fs.pipe_file(uri, b"second, longer")
    assert fs.cat_file(uri) == b"second, longer"
    assert fs.info(uri)["size"] == 14
    assert fs.ls(s3.uri("twin")) == [f"{s3.bucket}/twin/object.bin"]
    fs.rm(uri)
    assert not fs.exists(uri)
    assert not s3.file("twin/object.bin").exists()


def test_pyarrow_reads_what_s3fs_wrote(s3: S3Server, fs: s3fs.S3FileSystem) -> None:
    table = pa.table({"item_id": ["a", "b"]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    fs.pipe_file(s3.uri("twin/table.parquet"), sink.getvalue().to_pybytes())
    reader = S3FileSystem(**s3.pyarrow_options)
    assert pq.read_table(f"{s3.bucket}/twin/table.parquet", filesystem=reader).equals(table)


def test_environment_alone_is_enough_for_s3fs(s3_env: S3Server) -> None:
    plain = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    plain.pipe_file(s3_env.uri("twin/env"), b"x")
    assert plain.exists(s3_env.uri("twin/env"))


def test_wrong_secret_is_refused(s3: S3Server) -> None:
    stranger = s3fs.S3FileSystem(**{**s3.storage_options, "secret": "guess"})
    with pytest.raises(PermissionError):
        stranger.ls(s3.bucket)
