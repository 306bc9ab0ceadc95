"""Setup of all tests: no network, none of the user's settings, a real S3 server."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Set before the first import of prefect, ray, huggingface_hub and botocore, which read their
# environment once.
_PREFECT_HOME = tempfile.mkdtemp(prefix="stylegallery-prefect-")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

# Set unconditionally: a test never reaches the user's Prefect, Ray cluster or AWS account.
os.environ.update(
    PREFECT_HOME=_PREFECT_HOME,
    # Servers other than AWS's refuse or corrupt botocore's and pyarrow's new default checksums.
    AWS_REQUEST_CHECKSUM_CALCULATION="when_required",
    AWS_RESPONSE_CHECKSUM_VALIDATION="when_required",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_ACCESS_KEY_ID="test-access-key",
    AWS_SECRET_ACCESS_KEY="test-secret-key",
    AWS_REGION="us-east-1",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
)
for _name in list(os.environ):
    if _name.startswith("STYLEGALLERY_") or _name in {
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "PREFECT_API_KEY",
        "PREFECT_API_URL",
        "PREFECT_PROFILE",
        "RAY_ADDRESS",
    }:
        del os.environ[_name]
# A proxy must not receive requests to this machine.
for _name in ("NO_PROXY", "no_proxy"):
    _hosts = [host for host in os.environ.get(_name, "").split(",") if host]
    os.environ[_name] = ",".join(dict.fromkeys([*_hosts, "127.0.0.1", "localhost"]))

from tests.s3_server import S3Server, serve_s3  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip `gpu` tests where there is no CUDA device."""
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if not wanting:
        return
    import torch

    if not torch.cuda.is_available():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


def pytest_unconfigure() -> None:
    shutil.rmtree(_PREFECT_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server on loopback with one empty bucket; its `env` is not set: see `s3_env`."""
    root: Path = tmp_path_factory.mktemp("s3")
    with serve_s3(root) as server:
        yield server


@pytest.fixture
def s3_env(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server with its address and keys in this test's environment."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return s3
