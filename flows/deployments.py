"""The flows as deployments, as `stylegallery serve` registers them at a Prefect server."""

import os
from typing import Any, cast

from prefect import Flow
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from flows.evaluate_run import evaluate_run
from flows.prepare_gallery import prepare_gallery
from flows.preview import preview
from flows.restyle import restyle_catalog
from schemas.run import RestyleSpec

NAME = "stylegallery"


def deployments(spec: RestyleSpec | None = None, cron: str = "") -> list[RunnerDeployment]:
    """Return a deployment of each flow; where RAY_ADDRESS is set, runs join that cluster.

    Args:
        spec: Default parameters of `restyle-catalog`.
        cron: Its schedule; needs `spec`.
    """
    cluster = {"ray_address": "auto"} if os.environ.get("RAY_ADDRESS") else {}
    defaults: dict[str, Any] = {"pool": cluster} if cluster else {}
    restyle_defaults = defaults
    if spec:
        given = spec.model_dump(mode="json", exclude_unset=True)
        restyle_defaults = {**given, "pool": {**cluster, **given.get("pool", {})}}
    schedule = {"cron": cron} if cron else {}
    return [
        _deployment(restyle_catalog, restyle_defaults, **schedule),
        _deployment(preview, defaults),
        _deployment(prepare_gallery, defaults),
        _deployment(evaluate_run, cluster),
    ]


def _deployment(flow: Flow[..., Any], spec: dict[str, Any], **options: Any) -> RunnerDeployment:
    if spec:
        options["parameters"] = {"spec": spec}
    # A file path would put flows/ first on sys.path, where it hides other modules of these names.
    by_module = EntrypointType.MODULE_PATH
    made = flow.to_deployment(NAME, tags=[NAME], entrypoint_type=by_module, **options)
    return cast(RunnerDeployment, made)
