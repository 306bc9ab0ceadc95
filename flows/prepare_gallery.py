"""The flow `prepare-gallery`: analyze references before the first run needs them."""

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.states import Completed

from flows.run_names import gallery_names, named_by
from schemas.flows import PrepareSpec
from tasks.execution.prepare_gallery import prepare_galleries


@flow(
    name="prepare-gallery",
    flow_run_name=named_by(PrepareSpec, lambda spec: f"prepare {gallery_names(spec)}"),
    persist_result=False,
)
def prepare_gallery(spec: PrepareSpec) -> dict[str, str]:
    """Analyze every reference of some galleries, and report the references that cannot be used.

    Args:
        spec: The galleries, and the settings of the later runs.

    Returns:
        The error message of each unusable reference, by name.
    """
    unusable = prepare_galleries(spec)
    if unusable:
        table = [{"reference": name, "error": error} for name, error in unusable.items()]
        create_table_artifact(table, key="unusable-references")
    state = "Completed with failures" if unusable else "Completed"
    message = (
        f"{len(unusable)} references cannot be used" if unusable else "all references can be used"
    )
    # Prefect unwraps the returned state: the caller gets its data.
    return Completed(name=state, message=message, data=unusable)  # type: ignore[return-value]
