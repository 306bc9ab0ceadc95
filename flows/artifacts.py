"""What a finished run leaves in the Prefect UI: a summary and the first failures."""

import logging

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from schemas.result import ItemResult
from schemas.run import RunSummary
from tasks.planning import Plan
from tasks.report_survey import first_troubled
from tasks.report_view import headline

logger = logging.getLogger(__name__)

_MOST_FAILURES = 50


def publish(plan: Plan, summary: RunSummary, report: str) -> None:
    """Write the artifacts; a server that refuses them does not fail the run."""
    try:
        some = summary.rejected + summary.failed
        troubled = first_troubled(plan.files, _MOST_FAILURES) if some else []
        create_markdown_artifact(key="restyle-report", markdown=_markdown(plan, summary, report))
        if troubled:
            create_table_artifact(
                key="restyle-failures",
                description=f"Items without an asset (first {_MOST_FAILURES}).",
                table=[_row(result) for result in troubled],
            )
    except Exception as error:
        logger.warning("Prefect took no artifacts (%s); the run itself is complete", error)


def _markdown(plan: Plan, summary: RunSummary, report: str) -> str:
    spec = plan.spec
    lines = [
        f"# {headline(summary)}",
        "",
        "| | |",
        "|---|---|",
        f"| Run | `{plan.run_id}` |",
        f"| Catalog | `{spec.catalog}` |",
        f"| Galleries | {', '.join(f'`{uri}`' for uri in spec.galleries)} |",
        f"| Output | `{spec.output}` |",
        f"| Report | `{report}` |",
        f"| Method | {spec.params.method}, {spec.params.steps} steps |",
        f"| Model | `{spec.engine.model}` |",
        f"| Taken over from earlier runs | {summary.reused} |",
    ]
    return "\n".join(lines)


def _row(result: ItemResult) -> dict[str, str]:
    error = result.error
    return {
        "product": result.product_id,
        "view": result.view,
        "gallery": result.gallery_id,
        "status": result.status,
        "stage": error.stage if error else "",
        "message": error.message if error else "",
    }
