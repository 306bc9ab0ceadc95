"""The flows as deployments: what `stylegallery serve` offers to a Prefect server."""

from typing import Any, cast

from prefect import Flow
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from flows.evaluate import evaluate_run
from flows.prepare import prepare_gallery
from flows.preview import preview
from flows.restyle import restyle_catalog
from schemas.run import RestyleSpec

NAME = "stylegallery"


def deployments(spec: RestyleSpec | None = None, cron: str = "") -> list[RunnerDeployment]:
    """Return the deployments of all flows.

    Args:
        spec: What the form of `restyle-catalog` is filled in with.
        cron: When it runs by itself; needs `spec`.
    """
    filled = {"spec": spec.model_dump(mode="json", exclude_unset=True)} if spec else {}
    scheduled = {"cron": cron} if cron else {}
    return [
        _deployment(restyle_catalog, parameters=filled, **scheduled),
        _deployment(preview),
        _deployment(prepare_gallery),
        _deployment(evaluate_run),
    ]


def _deployment(flow: Flow[..., Any], **more: Any) -> RunnerDeployment:
    # A file path would put flows/ first on sys.path, where it hides other modules of these names.
    by_module = EntrypointType.MODULE_PATH
    made = flow.to_deployment(NAME, tags=[NAME], entrypoint_type=by_module, **more)
    return cast(RunnerDeployment, made)
