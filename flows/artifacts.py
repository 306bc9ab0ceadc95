"""What a finished run leaves in the Prefect UI: a summary, links, failures and what to look at."""

import logging
from datetime import UTC, datetime
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from schemas.result import ItemResult
from schemas.run import RunSummary
from tasks.evaluation.reader import read_summary, worst_items
from tasks.planning import Plan
from tasks.report.cards import headline
from tasks.report.charts import label
from tasks.report.data import first_failed_or_rejected

logger = logging.getLogger(__name__)

_MOST_FAILURES, _MOST_WORST = 50, 10


def publish(plan: Plan, summary: RunSummary, report: str) -> None:
    """Write the artifacts; a server that refuses them does not fail the run."""
    try:
        some = summary.rejected + summary.failed
        troubled = first_failed_or_rejected(plan.files, _MOST_FAILURES) if some else []
        create_markdown_artifact(key="restyle-report", markdown=_markdown(plan, summary, report))
        for key, uri, text in (
            ("report-link", report, "Report: before, references, after"),
            ("output-link", plan.spec.output, "Output: assets, tables, runs"),
        ):
            create_link_artifact(_link(uri), text, key=key)
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
        f"| Throughput | {_throughput(plan)} |",
    ]
    lines += ["", *(f"- Warning: {_cell(warning)}" for warning in summary.warnings)]
    return "\n".join([*lines, *_figures(plan)])


def _throughput(plan: Plan) -> str:
    """Say how many items an hour this attempt did."""
    hours = (datetime.now(UTC) - plan.made_at).total_seconds() / 3600
    if not plan.counts.todo:
        return "nothing was left to do"
    return f"{plan.counts.todo / hours:.0f} items an hour ({plan.counts.todo} done)"


def _figures(plan: Plan) -> list[str]:
    """Say what was measured, and which items to look at first."""
    judged = read_summary(plan.files)
    if judged is None:
        return []
    lines = ["", "## Figures", "", "| figure | mean | 95 % interval |", "|---|---|---|"]
    lines += [
        f"| {label(name)} | {span.value:.3f} | {span.low:.3f} to {span.high:.3f} |"
        for name, span in judged.figures.items()
    ]
    lines += ["", "## To look at first", "", "| product | gallery | why |", "|---|---|---|"]
    lines += [
        f"| {_cell(row.product_id)} | {_cell(row.gallery_id)} | {'; '.join(row.flags) or why} |"
        for row, why in worst_items(plan.files, _MOST_WORST)
    ]
    return lines


def _cell(text: str) -> str:
    """Keep a manifest's value from being read as Markdown."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#!" else sign for sign in text)


def _link(uri: str) -> str:
    return uri if "://" in uri else Path(uri).as_uri()


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
