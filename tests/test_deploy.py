"""Checks the files of deploy/ without Docker and Kubernetes."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from flows.cli.app import app
from flows.cli.settings import resolve
from flows.deployments import NAME, deployments
from schemas.params import StyleParams
from schemas.run import RestyleSpec

_GROUP: dict[str, Any] = {
    "rayStartParams": {"type": "object", "additionalProperties": {"type": "string"}},
    "template": {"type": "object", "required": ["spec"]},
}
_COUNT = {"type": "integer", "minimum": 0}
RAY_CLUSTER: dict[str, Any] = {
    "type": "object",
    "required": ["headGroupSpec"],
    "additionalProperties": False,
    "properties": {
        "rayVersion": {"type": "string"},
        "enableInTreeAutoscaling": {"type": "boolean"},
        "autoscalerOptions": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"idleTimeoutSeconds": _COUNT},
        },
        "headGroupSpec": {
            "type": "object",
            "required": ["template"],
            "additionalProperties": False,
            "properties": _GROUP,
        },
        "workerGroupSpecs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["groupName", "minReplicas", "maxReplicas", "template"],
                "additionalProperties": False,
                "properties": {
                    **_GROUP,
                    "groupName": {"type": "string"},
                    "replicas": _COUNT,
                    "minReplicas": _COUNT,
                    "maxReplicas": _COUNT,
                },
            },
        },
    },
}
"""The fields of KubeRay's RayCluster (ray.io/v1) that we use; no package has its definition.
Pods are checked with the schema of Kubernetes."""

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def pods() -> list[dict[str, Any]]:
    """Return every pod template of the Kubernetes file."""
    found = []
    for one in documents("kubernetes.yaml"):
        if one["kind"] == "RayCluster":
            groups = [one["spec"]["headGroupSpec"], *one["spec"]["workerGroupSpecs"]]
            found += [group["template"]["spec"] for group in groups]
        if one["kind"] == "Deployment":
            found.append(one["spec"]["template"]["spec"])
    return found


def test_the_image_is_built_by_the_steps_of_make_install() -> None:
    """CI runs `make install` on a clean machine, which tests these steps."""
    text = (DEPLOY / "Dockerfile").read_text()
    steps = re.findall(r"-m pip install --quiet (?:\$\{TORCH_ARGS\} )?(.+)", text)
    make = (ROOT / "Makefile").read_text()
    made = re.findall(r"-m pip install --quiet (?:\$\(PIP_ARGS\) )?(.+)", make)
    plain = [step.replace("$$", "$").replace(" -e .", " .") for step in made]
    assert steps == plain
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE))
    assert copied == {"flows", "tasks", "stylegallery", "schemas"}


def test_the_dockerfile_has_no_fault_that_a_linter_knows() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", "Dockerfile"],
        cwd=DEPLOY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_image_is_pinned_and_runs_as_nobody_special() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases
    assert all(re.search(r":\d+\.\d+\.\d+", base) for base in bases)
    last = text.rpartition("FROM ")[2]
    assert re.search(r"^USER [1-9]\d*$", last, re.MULTILINE)
    assert "ADD " not in text


def test_the_local_stack_follows_the_compose_specification() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         DEPLOY / "compose.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_local_stack_is_pinned_and_keeps_to_this_machine() -> None:
    stack = documents("compose.yaml")[0]
    for name, service in stack["services"].items():
        tag = service["image"].partition(":")[2]
        assert tag not in ("", "latest") or service["image"] == "stylegallery", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    given = set(re.findall(r"^(\w+)=", (DEPLOY / "example.env").read_text(), re.MULTILINE))
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert asked == given


def test_kubernetes_objects_follow_their_schemas() -> None:
    version = kubernetes_validate.latest_version()
    kinds = []
    for one in documents("kubernetes.yaml"):
        kinds.append(one["kind"])
        if one["kind"] == "RayCluster":
            jsonschema.validate(one["spec"], RAY_CLUSTER)
        else:
            kubernetes_validate.validate(one, version, strict=True)
    assert kinds == ["ServiceAccount", "ConfigMap", "RayCluster", "Deployment"]
    for pod in pods():
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
        kubernetes_validate.validate(whole, version, strict=True)


def test_a_job_runs_a_command_that_there_is_on_the_cluster_that_there_is() -> None:
    (job,) = documents("rayjob.yaml")
    cluster = next(one for one in documents("kubernetes.yaml") if one["kind"] == "RayCluster")
    assert (job["apiVersion"], job["kind"]) == (cluster["apiVersion"], "RayJob")
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    assert job["spec"]["shutdownAfterJobFinishes"] is False
    words = shlex.split(job["spec"]["entrypoint"])
    _, bound, _ = app.parse_args(words[1:], print_error=False, exit_on_error=False)
    spec = resolve(*bound.arguments["flags"].layers())
    assert (spec.pool.ray_address, spec.pool.gpus_per_actor) == ("auto", 1)


@pytest.mark.parametrize("spoil", [{"maxReplicas": "8"}, {"minReplica": 0}, {"rayStartParams": 1}])
def test_a_wrong_group_of_workers_is_seen(spoil: dict[str, Any]) -> None:
    cluster = next(one for one in documents("kubernetes.yaml") if one["kind"] == "RayCluster")
    cluster["spec"]["workerGroupSpecs"][0] |= spoil
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster["spec"], RAY_CLUSTER)


def test_the_server_unpacks_its_ui_where_its_user_may_write() -> None:
    """Otherwise the server, which does not run as root, answers requests for the UI with 404."""
    server = documents("compose.yaml")[0]["services"]["prefect"]
    home = re.findall(r"^WORKDIR (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert home[-1] == "/home/style"
    place = server["environment"]["PREFECT_SERVER_UI_STATIC_DIRECTORY"]
    assert place.startswith(f"{home[-1]}/")


def test_pods_ask_for_what_they_need_and_are_not_root() -> None:
    found = pods()
    assert len(found) == 3
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["serviceAccountName"] == "stylegallery"
        for container in pod["containers"]:
            wanted = container["resources"]
            assert {"cpu", "memory"} <= set(wanted["requests"])
            assert wanted["limits"]["memory"] == wanted["requests"]["memory"]
    gpus = [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for pod in found]
    assert gpus == [None, "1", None]


def test_versions_are_those_of_the_lock() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    lock = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    cluster = next(one for one in documents("kubernetes.yaml") if one["kind"] == "RayCluster")
    assert cluster["spec"]["rayVersion"] == lock["ray"]
    assert documents("prefect.yaml")[0]["prefect-version"] == lock["prefect"]


def test_the_dashboard_asks_for_figures_that_there_are() -> None:
    metrics = (ROOT / "tasks/execution/metrics.py").read_text()
    board = json.loads((DEPLOY / "grafana.json").read_text())
    queries = " ".join(one["expr"] for panel in board["panels"] for one in panel["targets"])
    asked = set(re.findall(r"ray_(stylegallery_\w+)", queries))
    known = set(re.findall(r'"(stylegallery_\w+)"', metrics))
    assert {re.sub(r"_(sum|count)$", "", name) for name in asked} == known


def test_forms_join_the_cluster_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    plain = deployments()
    assert [one.name for one in plain] == [NAME] * 4
    assert [one.parameters for one in plain] == [{}] * 4
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    joined = deployments()
    pool = {"spec": {"pool": {"ray_address": "auto"}}}
    assert [one.parameters for one in joined] == [pool] * 3 + [{"spec": {"ray_address": "auto"}}]
    params = StyleParams(match_tone=False, steps=3)
    spec = RestyleSpec(catalog="c.parquet", galleries=["g.parquet"], output="o", params=params)
    nightly = deployments(spec, "0 2 * * *")[0]
    assert nightly.parameters["spec"]["catalog"] == "c.parquet"
    assert nightly.parameters["spec"]["params"] == {"tones": {"match_tone": False}, "steps": 3}
    assert nightly.parameters["spec"]["pool"] == {"ray_address": "auto"}
    assert nightly.schedules
    assert nightly.schedules[0].schedule.cron == "0 2 * * *"
