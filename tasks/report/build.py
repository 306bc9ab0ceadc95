"""Build the report of a run: one self-contained HTML file.

It needs only the tables and images below the output root and the input images, so it can be
rebuilt at any time on any machine that can read them.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jinja2

from schemas.run import RunRecord
from schemas.students import COMPARED
from schemas.text import clean
from tasks.records.layout import RunFiles
from tasks.records.run_record import read_record
from tasks.report.cards import make_cards
from tasks.report.charts import label
from tasks.report.data import ReportData, read_report_data
from tasks.report.thumbnails import ThumbnailStore
from tasks.storage import StoragePath

_MAX_CARDS: Final = 2_000
_MAX_FAILED_OR_REJECTED: Final = 100
_TEMPLATES: Final = Path(__file__).parent / "templates"


def build_report(output: str, run_id: str) -> str:
    """Write `runs/RUN_ID/report/index.html`.

    Args:
        output: Root of the outputs, local or on object storage.
        run_id: The run.

    Returns:
        URI of the report.

    Raises:
        RecordError: a table or run.json is damaged.
        StorageError: a table is missing or cannot be read, or the report cannot be written.
    """
    root = StoragePath.parse(output)
    files = RunFiles(root, run_id)
    record = read_record(files)
    data = read_report_data(files, _MAX_CARDS, _MAX_FAILED_OR_REJECTED)
    inputs = {item.image_uri for item in data.items.values()}
    inputs |= {style.image_uri for item in data.items.values() for style in item.styles}

    def fetch(uri: str, most: int) -> bytes:
        file = StoragePath.parse(uri) if uri in inputs else root / uri
        return file.read_bytes(most)

    files.report.write_bytes(render(record, data, ThumbnailStore(fetch)).encode())
    return files.report.uri


def render(record: RunRecord, data: ReportData, thumbnails: ThumbnailStore) -> str:
    """Render the page. The template escapes every value from a manifest."""
    cards = make_cards(data.shown, data.items, data.evaluated, thumbnails)
    summary = data.summary
    statuses = ("ok", "rejected", "failed")
    template = _environment().get_template("report.html.j2")
    return template.render(
        run=record,
        headline=summary.headline(),
        facts=_facts(record, data),
        parameters=_parameters(record),
        summary=summary,
        galleries=data.galleries,
        statuses=[status for status in statuses if getattr(summary, status)],
        failed_or_rejected=data.failed_or_rejected,
        hidden_failed_or_rejected=summary.rejected + summary.failed - len(data.failed_or_rejected),
        cards=cards,
        dense=len(cards) > 12,
        hidden_cards=summary.ok - len(cards),
        images=list(thumbnails.shared.values()),
        timings=data.timings,
        charts=data.charts,
        evaluation=data.evaluation,
        students=data.students,
        compared={name: label(name) for name in COMPARED},
        flagged=any(card.flags for card in cards),
        categories=sorted({card.category for card in cards} - {""}),
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_without_control_characters,
    )
    environment.filters["path"] = quote
    return environment


def _without_control_characters(value: Any) -> Any:
    """Remove characters that are invisible or reverse the direction of the text around them."""
    if not isinstance(value, str):
        return value
    return type(value)(clean(value))  # keep the type: Markup is escaped already


def _facts(record: RunRecord, data: ReportData) -> list[tuple[str, str]]:
    params, counts = record.spec.params, record.counts
    method = f"{params.method}, {params.steps} steps"
    if set(data.methods) - {params.method}:  # galleries have their own
        method = ", ".join(data.methods)
    facts = [
        ("Run", record.run_id),
        ("Started", f"{record.started_at:%Y-%m-%d %H:%M} UTC"),
        ("Photos", str(counts.products)),
        ("Galleries", f"{counts.galleries}, {counts.styles} references"),
        ("Method", method),
        ("Model", record.spec.engine.model),
    ]
    if data.summary.reused:
        facts.append(("Reused", f"{data.summary.reused} from earlier runs"))
    return facts


def _parameters(record: RunRecord) -> list[tuple[str, str]]:
    spec = record.spec
    top = [("catalog", spec.catalog), ("galleries", ", ".join(spec.galleries))]
    nested = [spec.params, spec.engine, spec.pool]
    return top + [(name, str(value)) for model in nested for name, value in model]
