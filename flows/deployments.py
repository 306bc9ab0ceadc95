"""The flows as deployments: what `stylegallery serve` offers to a Prefect server."""

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
    """Return the deployments of all flows; where RAY_ADDRESS is set, their forms join that cluster.

    Args:
        spec: What the form of `restyle-catalog` is filled in with.
        cron: When it runs by itself; needs `spec`.
    """
    here = {"ray_address": "auto"} if os.environ.get("RAY_ADDRESS") else {}
    form: dict[str, Any] = {"pool": here} if here else {}
    given = spec.model_dump(mode="json", exclude_unset=True) if spec else {}
    filled = {**form, **given, "pool": {**here, **given.get("pool", {})}} if given else form
    scheduled = {"cron": cron} if cron else {}
    return [
        _deployment(restyle_catalog, filled, **scheduled),
        _deployment(preview, form),
        _deployment(prepare_gallery, form),
        _deployment(evaluate_run, here),
    ]


def _deployment(flow: Flow[..., Any], spec: dict[str, Any], **more: Any) -> RunnerDeployment:
    if spec:
        more["parameters"] = {"spec": spec}
    # A file path would put flows/ first on sys.path, where it hides other modules of these names.
    by_module = EntrypointType.MODULE_PATH
    made = flow.to_deployment(NAME, tags=[NAME], entrypoint_type=by_module, **more)
    return cast(RunnerDeployment, made)
