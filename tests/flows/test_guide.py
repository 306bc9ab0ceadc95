"""Runs the commands of deploy/README.md on this machine, with a real Prefect server."""

import shlex
import subprocess
from pathlib import Path

import pytest
from prefect.client.schemas.responses import DeploymentResponse

from schemas.manifest import CatalogRow
from tasks import planning
from tasks.results.verify import verify
from tests.documents import ROOT, block, commands
from tests.flows.prefect_server import Prefect, server, serving, until
from tests.flows.test_served import make_spec
from tests.tiny_model import write_tiny_model

ELSEWHERE = ("A local stack (Docker)", "Kubernetes")
"""Sections that need what the tests do not have."""

AT_ONCE = [
    "prefect work-pool create stylegallery --type process",
    "prefect deploy --all --prefect-file deploy/prefect.yaml",
    "prefect automation create --from-file deploy/automations.yaml",
]
WORKER = "prefect worker start --pool stylegallery"
NIGHTLY = 'stylegallery serve --cron "0 2 * * *" --config nightly.toml'
BY_THE_FIXTURE = [
    "prefect server start",
    "export PREFECT_API_URL=http://127.0.0.1:4200/api",
    "stylegallery serve",
]


def test_every_command_is_typed_by_a_test() -> None:
    typed = [one.text for one in commands("deploy/README.md") if one.heading not in ELSEWHERE]
    assert set(typed) == {*AT_ONCE, WORKER, NIGHTLY, *BY_THE_FIXTURE}
    text = (ROOT / "deploy" / "README.md").read_text()
    assert all(f"\n## {title}\n" in text for title in ELSEWHERE)


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(900)
def test_the_guide_works_as_it_is_written(tmp_path: Path) -> None:
    nightly = tmp_path / "nightly.toml"
    nightly.write_text(block("deploy/README.md", "toml"))
    with server(tmp_path) as prefect:
        with serving(prefect):
            assert not restyle(prefect).schedules
        with serving(prefect, NIGHTLY.replace("nightly.toml", str(nightly))):
            until(lambda: bool(restyle(prefect).schedules))
        made = restyle(prefect)
        assert made.schedules[0].schedule.cron == "0 2 * * *"
        assert made.parameters["spec"]["catalog"] == "s3://brand/catalog.parquet"
        assert made.parameters["spec"]["max_failed_fraction"] == 0.02

        for command in AT_ONCE:
            subprocess.run(shlex.split(command), cwd=ROOT, env=prefect.env, check=True)
        made = restyle(prefect)
        assert (made.work_pool_name, made.tags) == ("stylegallery", ["stylegallery"])
        assert [(one.slug, one.active) for one in made.schedules] == [("nightly", False)]
        alarms = prefect.ask(lambda client: client.read_automations())
        assert {alarm.name for alarm in alarms} == {
            "stylegallery-tell-of-failure", "stylegallery-pause-after-failures",
        }  # fmt: skip
        spec = make_spec(
            tmp_path,
            write_tiny_model(tmp_path / "model"),
            [CatalogRow(product_id="p", image_uri="cup.png")],
        )
        with prefect.running(WORKER, tmp_path / "worker.log"):
            run = prefect.start("restyle-catalog/stylegallery", spec.model_dump(mode="json"))
            assert prefect.ended(run).message == "1 restyled"
        assert verify(spec.output, planning.make_plan(spec).run_id).ok


def restyle(prefect: Prefect) -> DeploymentResponse:
    """Return the deployment of the main flow."""
    name = "restyle-catalog/stylegallery"
    found: DeploymentResponse = prefect.ask(lambda client: client.read_deployment_by_name(name))
    return found
