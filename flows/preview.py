"""The flow `preview`: a few photos of a catalog in each gallery, for approval before a big run."""

from prefect import flow, runtime

from flows.restyle import restyle_catalog
from flows.runtime.outcome import Ended
from schemas.flows import PreviewSpec
from tasks import storage
from tasks.manifests.sample import preview_spec


def _name() -> str:
    spec = PreviewSpec.model_validate(runtime.flow_run.parameters["spec"])
    galleries = spec.gallery_ids or [storage.stem(uri) for uri in spec.galleries]
    return f"preview of {storage.stem(spec.catalog)} in {', '.join(galleries)}"


@flow(name="preview", flow_run_name=_name, persist_result=False)
def preview(spec: PreviewSpec) -> Ended:
    """Restyle a few random photos for each gallery, to look at before the whole catalog is done.

    What is made here is taken over by a later run of the catalog into the same output.

    Args:
        spec: What to restyle, and how many photos of it.
    """
    return restyle_catalog(preview_spec(spec))
