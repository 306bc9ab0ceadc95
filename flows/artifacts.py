"""Prefect artifacts of a finished run: a summary, links, and the items without an asset."""

import logging
from datetime import UTC, datetime
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from schemas.result import ItemResult
from schemas.run import RunSummary
from schemas.text import counted
from tasks.evaluation.reader import read_summary, worst_items
from tasks.planning import Plan
from tasks.report.charts import label
from tasks.report.data import first_failed_or_rejected

logger = logging.getLogger(__name__)

_MAX_FAILURES, _MAX_WORST = 50, 10


def publish(plan: Plan, summary: RunSummary, report: str) -> None:
    """Create the artifacts of a run; an error of the Prefect server is only logged.

    Args:
        plan: The plan of the run.
        summary: Its counts.
        report: Path or URI of its report.
    """
    try:
        without_asset = summary.rejected + summary.failed
        failed_or_rejected = (
            first_failed_or_rejected(plan.files, _MAX_FAILURES) if without_asset else []
        )
        create_markdown_artifact(key="restyle-report", markdown=_markdown(plan, summary, report))
        for key, uri, text in (
            ("report-link", report, "Report: photo, references, result"),
            ("output-link", plan.spec.output, "Output: assets, tables, runs"),
        ):
            create_link_artifact(_link(uri), text, key=key)
        if failed_or_rejected:
            create_table_artifact(
                key="restyle-failures",
                description=f"Failed and rejected items (the first {_MAX_FAILURES}).",
                table=[_row(result) for result in failed_or_rejected],
            )
    except Exception as error:
        logger.warning("Prefect artifacts were not created (%s); the run is complete", error)


def _markdown(plan: Plan, summary: RunSummary, report: str) -> str:
    spec = plan.spec
    lines = [
        f"# {summary.headline()}",
        "",
        "| | |",
        "|---|---|",
        f"| Run | `{plan.run_id}` |",
        f"| Catalog | `{spec.catalog}` |",
        f"| Galleries | {', '.join(f'`{uri}`' for uri in spec.galleries)} |",
        f"| Output | `{spec.output}` |",
        f"| Report | `{report}` |",
        f"| Method | {spec.params.method}, {spec.params.steps} steps |",
        *(
            f"| {counted(len(names), 'gallery')} | {settings} |"
            for settings, names in plan.items.own_settings().items()
        ),
        f"| Model | `{spec.engine.model}` |",
        f"| Reused from earlier runs | {summary.reused} |",
        f"| Throughput | {_throughput(plan)} |",
    ]
    lines += ["", *(f"- Warning: {_escaped(warning)}" for warning in summary.warnings)]
    return "\n".join([*lines, *_evaluation(plan)])


def _throughput(plan: Plan) -> str:
    """Return the items per hour of this attempt."""
    hours = (datetime.now(UTC) - plan.made_at).total_seconds() / 3600
    if not plan.counts.todo:
        return "nothing left to do"
    return f"{plan.counts.todo / hours:.0f} items an hour ({plan.counts.todo} done)"


def _evaluation(plan: Plan) -> list[str]:
    """Return tables of the metrics and of the worst_items items; nothing if none were measured."""
    summary = read_summary(plan.files)
    if summary is None:
        return []
    lines = ["", "## Metrics", "", "| metric | mean | 95 % interval |", "|---|---|---|"]
    lines += [
        f"| {label(name)} | {span.value:.3f} | {span.low:.3f} to {span.high:.3f} |"
        for name, span in summary.figures.items()
    ]
    lines += ["", "## Items to review first", "", "| product | gallery | reason |", "|---|---|---|"]
    lines += [
        f"| {_escaped(row.product_id)} | {_escaped(row.gallery_id)} | "
        f"{'; '.join(row.flags) or reason} |"
        for row, reason in worst_items(plan.files, _MAX_WORST)
    ]
    return lines


def _escaped(text: str) -> str:
    """Escape Markdown in a value from a manifest."""
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
