"""Names of flow runs, as the Prefect UI lists them."""

from collections.abc import Callable
from typing import TypeVar

from prefect import runtime
from pydantic import BaseModel

from schemas.flows import PrepareSpec
from schemas.run import RestyleSpec
from tasks import storage

Spec = TypeVar("Spec", bound=BaseModel)


def named_by(model: type[Spec], name: Callable[[Spec], str]) -> Callable[[], str]:
    """Return a `flow_run_name` callable that names a run after its parameter `spec`.

    Args:
        model: Class of the parameter.
        name: Returns the name for a parameter value.
    """

    def flow_run_name() -> str:
        return name(model.model_validate(runtime.flow_run.parameters["spec"]))

    return flow_run_name


def gallery_names(spec: RestyleSpec | PrepareSpec) -> str:
    """Return the gallery ids of a spec, or else the file names of its gallery manifests."""
    return ", ".join(spec.gallery_ids or [storage.stem(uri) for uri in spec.galleries])
