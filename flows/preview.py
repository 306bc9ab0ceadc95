"""The flow `preview`: restyle a few photos of a catalog in each gallery, for approval."""

from prefect import flow

from flows.restyle import restyle_catalog, run_name
from flows.run_names import named_by
from flows.runtime.outcome import RunOutcome
from schemas.flows import PreviewSpec
from tasks.manifests.sample import preview_spec


@flow(
    name="preview",
    flow_run_name=named_by(PreviewSpec, lambda spec: f"preview of {run_name(spec)}"),
    persist_result=False,
)
def preview(spec: PreviewSpec) -> RunOutcome:
    """Restyle a few random photos in each gallery, to approve before the whole catalog is restyled.

    A later run of the catalog into the same output reuses these assets.

    Args:
        spec: What to restyle, and how many photos of it.
    """
    return restyle_catalog(preview_spec(spec))
