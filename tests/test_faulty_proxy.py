"""The proxy passes everything on unharmed but for the faults it is told to make."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

from tests.faulty_proxy import KINDS, Faults, FaultyProxy, faulty_proxy
from tests.s3_server import S3Server


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.endpoint_url, Faults(hold=0.2)) as proxy:
        yield proxy


@pytest.fixture
def client(s3: S3Server, proxy: FaultyProxy) -> Any:
    """A client that tries once, so that each fault shows."""
    return a_client(s3, proxy, attempts=1)


def a_client(s3: S3Server, proxy: FaultyProxy, attempts: int, **changes: Any) -> Any:
    config: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": attempts},
        "s3": {"addressing_style": "path"},
        "read_timeout": 10,
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    return boto3.client(
        "s3",
        endpoint_url=proxy.endpoint_url,
        aws_access_key_id=s3.key,
        aws_secret_access_key=changes.pop("secret", s3.secret),
        region_name=s3.region,
        config=Config(**{**config, **changes}),
    )


def put(client: Any, s3: S3Server, key: str, data: bytes = b"0123456789") -> None:
    client.put_object(Bucket=s3.bucket, Key=key, Body=data)


def get(client: Any, s3: S3Server, key: str) -> bytes:
    return bytes(client.get_object(Bucket=s3.bucket, Key=key)["Body"].read())


def test_without_faults_everything_passes(s3: S3Server, proxy: FaultyProxy, client: Any) -> None:
    for key, size in {"proxy/none": 0, "proxy/some": 1000, "proxy/big object": 3 * 2**20}.items():
        data = os.urandom(size)
        put(client, s3, key, data)
        assert s3.file(key).read_bytes() == data
        assert get(client, s3, key) == data
        assert client.head_object(Bucket=s3.bucket, Key=key)["ContentLength"] == size
    listed = client.list_objects_v2(Bucket=s3.bucket, Prefix="proxy/")["Contents"]
    assert {entry["Key"] for entry in listed} >= {"proxy/none", "proxy/some", "proxy/big object"}
    part = client.get_object(Bucket=s3.bucket, Key="proxy/some", Range="bytes=10-19")
    assert len(part["Body"].read()) == 10
    client.delete_object(Bucket=s3.bucket, Key="proxy/some")  # answered by 204
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket=s3.bucket, Key="proxy/some")
    assert not proxy.counts
    assert proxy.requests == 13


def test_bodies_in_chunks_pass_as_they_are(s3: S3Server, proxy: FaultyProxy) -> None:
    """With checksums in trailers the client sends aws-chunked, framed once more."""
    chunked = a_client(s3, proxy, 1, request_checksum_calculation="when_supported")
    seen: list[str] = []
    chunked.meta.events.register(
        "before-send.s3.*", lambda request, **_: seen.extend(request.headers)
    )
    put(chunked, s3, "proxy/chunked", b"x" * 100_000)
    assert "Expect" in seen
    assert b"x" * 100_000 in s3.file("proxy/chunked").read_bytes()


def test_signatures_are_checked_behind_it(s3: S3Server, proxy: FaultyProxy) -> None:
    with pytest.raises(ClientError, match="403"):
        a_client(s3, proxy, 1, secret="guess").head_object(Bucket=s3.bucket, Key="proxy/none")


def test_slow_down(s3: S3Server, proxy: FaultyProxy, client: Any) -> None:
    proxy.faults = Faults(1.0, kinds=("slow_down",))
    with pytest.raises(ClientError, match="SlowDown") as caught:
        put(client, s3, "proxy/slow")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    with pytest.raises(ClientError, match="503"):
        client.head_object(Bucket=s3.bucket, Key="proxy/slow")
    assert not s3.file("proxy/slow").exists()
    assert proxy.counts == {"slow_down": 2}


@pytest.mark.parametrize("kind", ["timeout", "reset"])
def test_lost_answers(s3: S3Server, proxy: FaultyProxy, client: Any, kind: str) -> None:
    """Of requests without an answer some were carried out."""
    proxy.faults = Faults(1.0, kinds=(kind,), hold=0.05)
    for i in range(12):
        with pytest.raises(ConnectionClosedError):
            put(client, s3, f"proxy/{kind}{i}")
    assert proxy.counts == {kind: 12}
    done = [i for i in range(12) if s3.file(f"proxy/{kind}{i}").exists()]
    assert 0 < len(done) < 12
    assert all(s3.file(f"proxy/{kind}{i}").read_bytes() == b"0123456789" for i in done)


def test_a_client_gives_up_sooner(s3: S3Server, proxy: FaultyProxy) -> None:
    proxy.faults = Faults(1.0, kinds=("timeout",), hold=30.0)
    with pytest.raises(BotoCoreError, match="Read timeout"):
        put(a_client(s3, proxy, 1, read_timeout=0.2), s3, "proxy/silence")


def test_half_an_answer(s3: S3Server, proxy: FaultyProxy, client: Any) -> None:
    put(client, s3, "proxy/half", bytes(1000))
    proxy.faults = Faults(1.0, kinds=("truncate",))
    answer = client.get_object(Bucket=s3.bucket, Key="proxy/half")
    assert answer["ContentLength"] == 1000
    with pytest.raises(BotoCoreError, match=r"500 bytes read"):
        answer["Body"].read()
    with pytest.raises(ConnectionClosedError):  # has no body to cut
        client.head_object(Bucket=s3.bucket, Key="proxy/half")
    assert proxy.counts == {"truncate": 1, "reset": 1}


def test_a_damaged_read(s3: S3Server, proxy: FaultyProxy, client: Any) -> None:
    put(client, s3, "proxy/damaged", bytes(9))
    proxy.faults = Faults(1.0, kinds=("flip",))
    assert client.list_objects_v2(Bucket=s3.bucket, Prefix="proxy/damaged")["KeyCount"] == 1
    assert client.head_object(Bucket=s3.bucket, Key="proxy/damaged")["ContentLength"] == 9
    answer = client.get_object(Bucket=s3.bucket, Key="proxy/damaged")
    assert answer["Body"].read() == bytes([0, 0, 0, 0, 0, 4, 0, 0, 0])
    assert proxy.counts == {"flip": 1}


def test_the_same_seed_makes_the_same_faults(s3: S3Server) -> None:
    def outcome(seed: int, order: list[int]) -> dict[int, str]:
        with faulty_proxy(s3.endpoint_url, Faults(0.5, seed, hold=0.01)) as proxy:
            client = a_client(s3, proxy, 1)
            return {i: self_told(client, i) for i in order}

    def self_told(client: Any, i: int) -> str:
        try:
            put(client, s3, f"proxy/seed{i}")
        except (BotoCoreError, ClientError) as error:
            return type(error).__name__
        return "fine"

    first = outcome(1, list(range(30)))
    assert first == outcome(1, list(reversed(range(30))))
    assert first != outcome(2, list(range(30)))
    assert len(set(first.values())) == 3


def test_a_patient_client_gets_through_until_faults_end(s3: S3Server, proxy: FaultyProxy) -> None:
    proxy.faults = Faults(0.3, seed=3, hold=0.05, most=10)
    client = a_client(s3, proxy, attempts=8)
    for i in range(40):
        put(client, s3, f"proxy/patient{i}", str(i).encode())
        assert s3.file(f"proxy/patient{i}").read_bytes() == str(i).encode()
    assert proxy.counts.total() == 10
    assert set(proxy.counts) <= set(KINDS)
    proxy.faults = replace(proxy.faults, rate=1.0, most=11)
    put(client, s3, "proxy/patient")
    assert proxy.counts.total() == 11
