"""The Prefect API of a command: dead ones, hostile surroundings, the temporary server."""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import prefect_api
from flows.usage import UsageError
from schemas.arrow import to_table
from schemas.manifest import CatalogRow, GalleryRow
from tests.tasks.pictures import noise, save
from tests.tiny_model import write_tiny_model

DEAD = "http://127.0.0.1:9/api"


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def no_prefect() -> Iterator[str]:
    """The address of a web server that is no Prefect."""
    handler = http.server.BaseHTTPRequestHandler
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def complaint_at(url: str) -> str:
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(UsageError) as told:
        prefect_api.check()
    return str(told.value)


def test_an_api_that_does_not_answer_is_told_of_in_a_sentence() -> None:
    said = complaint_at(DEAD)
    assert said.startswith(f"the Prefect API at {DEAD} cannot be used (")
    assert "Connection refused" in said
    assert "PREFECT_API_URL" in said


def test_an_address_without_a_prefect_is_told_of_without_its_password(no_prefect: str) -> None:
    said = complaint_at(no_prefect.replace("//", "//me:hush-hush@"))
    assert "HTTP 501" in said
    assert "hush-hush" not in said


def test_prefect_keeps_its_files_elsewhere_where_the_home_is_read_only(tmp_path: Path) -> None:
    for name in ("PREFECT_HOME", "PREFECT_PROFILES_PATH"):
        os.environ.pop(name, None)
    os.environ["HOME"] = str(tmp_path / "home")
    profiles = tmp_path / "home" / ".prefect" / "profiles.toml"
    prefect_api.choose_home()
    assert "PREFECT_HOME" not in os.environ  # this one can be written to
    profiles.write_text('active = "mine"')
    os.environ["HOME"] = "/proc/none"
    prefect_api.choose_home()
    assert Path(os.environ["PREFECT_HOME"]).is_dir()


def test_a_profile_that_can_be_read_is_still_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.environ.pop("PREFECT_HOME", None)
    os.environ["HOME"] = str(tmp_path)
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect" / "profiles.toml").write_text('active = "mine"')
    monkeypatch.setattr(prefect_api.places, "problem", lambda _: "read-only file system")
    prefect_api.choose_home()
    assert os.environ["PREFECT_PROFILES_PATH"] == str(tmp_path / ".prefect" / "profiles.toml")


def test_a_socks_proxy_that_no_client_can_use_is_left_out() -> None:
    os.environ.update({"all_proxy": "socks5://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"})
    assert prefect_api.drop_unusable_proxies() == ["all_proxy"]
    assert "http_proxy" in os.environ


def test_a_proxy_of_an_unknown_kind_is_refused() -> None:
    os.environ["https_proxy"] = "carrier-pigeon://me:hush-hush@127.0.0.1:9"
    with pytest.raises(UsageError, match="write a proxy as http://host:port") as told:
        prefect_api.drop_unusable_proxies()
    assert "https_proxy" in str(told.value)
    assert "hush-hush" not in str(told.value)


def command(home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a catalog of one photo with this environment alone."""
    words = ["run", "--catalog", "catalog.parquet", "--galleries", "galleries.parquet"]
    words += ["--output", "out", "--model", "model"]
    for setting in ("steps=1", "inversion_steps=2", "max_regions=2", "image_size=64"):
        words += ["--set", setting]
    kept = {name: os.environ[name] for name in ("PATH", "HF_HUB_OFFLINE") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *words],
        cwd=home,
        env={**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("scene")
    write_tiny_model(home / "model")
    save(home / "cup.png", noise(64, 64))
    photo = CatalogRow(product_id="cup", image_uri="cup.png")
    style = GalleryRow(gallery_id="field", style_id="cup", image_uri="cup.png")
    pq.write_table(to_table([photo], CatalogRow), home / "catalog.parquet")
    pq.write_table(to_table([style], GalleryRow), home / "galleries.parquet")
    return home


def test_a_missing_manifest_is_told_before_prefect_is_looked_for(scene: Path) -> None:
    (scene / "catalog.parquet").rename(scene / "away.parquet")
    done = command(scene, PREFECT_API_URL=DEAD)
    (scene / "away.parquet").rename(scene / "catalog.parquet")
    assert done.returncode == 2
    assert "catalog.parquet: not found" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_dead_prefect_api_ends_a_run_with_2_and_one_sentence(scene: Path) -> None:
    done = command(scene, PREFECT_API_URL=DEAD, HOME=str(scene))
    assert done.returncode == 2
    assert done.stderr.startswith("stylegallery: the Prefect API at")
    assert done.stderr.count("\n") == 1


STARTER = (
    "from flows import prefect_api\n"
    "from tasks import descendants\n"
    "prefect_api.connect(verbose=False)\n"
    "print(*descendants.children(), prefect_api.complaint(), flush=True)\n"
    "input()\n"
)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
def test_the_temporary_server_outlives_signals_but_not_its_starter(tmp_path: Path) -> None:
    env = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-c", STARTER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env) as starter:
        assert starter.stdout
        server = int(starter.stdout.readline())  # one process, and no complaint
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(server, number)
        time.sleep(0.5)
        assert Path(f"/proc/{server}").exists()
        starter.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{server}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_temporary_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = "sqlite+aiosqlite:////proc/none/a.db"
    with temporary_settings({PREFECT_API_URL: None}):
        server = prefect_api._TemporaryServer()
        with (
            temporary_settings({PREFECT_API_URL: server.url}),
            pytest.raises(UsageError, match=r"does not start \(.*database.*\); set PREFECT_HOME"),
        ):
            server.wait()
        server.stop()
