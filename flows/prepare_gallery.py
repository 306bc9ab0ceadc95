"""The flow `prepare-gallery`: references analysed before the first run needs them."""

from prefect import flow, runtime
from prefect.artifacts import create_table_artifact
from prefect.states import Completed

from schemas.flows import PrepareSpec
from tasks import storage
from tasks.execution.prepare_gallery import prepare_galleries


def _name() -> str:
    spec = PrepareSpec.model_validate(runtime.flow_run.parameters["spec"])
    return f"prepare {', '.join(spec.gallery_ids or [storage.stem(uri) for uri in spec.galleries])}"


@flow(name="prepare-gallery", flow_run_name=_name, persist_result=False)
def prepare_gallery(spec: PrepareSpec) -> dict[str, str]:
    """Analyse every reference of some galleries, and say which of them cannot be used.

    Args:
        spec: Which galleries, for which runs.
    """
    wrong = prepare_galleries(spec)
    if wrong:
        table = [{"reference": name, "what is wrong": told} for name, told in wrong.items()]
        create_table_artifact(table, key="unusable-references")
    name = "Completed with failures" if wrong else "Completed"
    told = f"{len(wrong)} references cannot be used" if wrong else "all references can be used"
    # Prefect hands the data of a returned state to the caller.
    return Completed(name=name, message=told, data=wrong)  # type: ignore[return-value]
