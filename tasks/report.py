"""The report of a run: one HTML file that shows and explains what came out.

It is built from the tables and pictures below the output root alone, so it can be built again
at any time, wherever the run took place.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jinja2

from schemas.run import RunRecord, RunSummary
from stylegallery.wording import clean
from tasks import storage
from tasks.report_cards import Album, make_cards
from tasks.report_survey import Survey, survey
from tasks.report_view import headline
from tasks.run_files import RunFiles
from tasks.run_record import read_record

_MOST_CARDS: Final = 2_000
_MOST_TROUBLES: Final = 100
_TEMPLATES: Final = Path(__file__).parent / "templates"


def build_report(output: str, run_id: str) -> str:
    """Write `runs/RUN_ID/report/index.html` from a run's tables and pictures.

    Args:
        output: Root of the outputs, local or on object storage.
        run_id: The run.

    Returns:
        URI of the report.
    """
    root = storage.absolute(output)
    files = RunFiles(root, run_id)
    record = read_record(files)
    found = survey(files, _MOST_CARDS, _MOST_TROUBLES)
    inputs = {item.image_uri for item in found.items.values()}
    inputs |= {style.image_uri for item in found.items.values() for style in item.styles}

    def fetch(uri: str, most: int) -> bytes:
        place = uri if uri in inputs else storage.join(root, uri)
        return storage.read_bytes(place, most)

    storage.write_bytes(files.report, render(record, found, Album(fetch)).encode())
    return files.report


def render(record: RunRecord, found: Survey, album: Album) -> str:
    """Return the page. Every value from a manifest passes through the template's escaping."""
    cards = make_cards(found.shown, found.items, found.evaluated, album)
    summary = found.summary
    statuses = ("ok", "rejected", "failed")
    template = _environment().get_template("report.html.j2")
    return template.render(
        run=record,
        headline=headline(summary),
        facts=_facts(record, summary),
        parameters=_parameters(record),
        summary=summary,
        galleries=found.galleries,
        statuses=[status for status in statuses if getattr(summary, status)],
        troubled=found.troubled,
        hidden_troubles=summary.rejected + summary.failed - len(found.troubled),
        cards=cards,
        dense=len(cards) > 12,
        hidden_cards=summary.ok - len(cards),
        images=list(album.shared.values()),
        timings=found.timings,
        charts=found.charts,
        judged=found.judged,
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
        finalize=_seen,
    )
    environment.filters["path"] = quote
    return environment


def _seen(value: Any) -> Any:
    """Let no value turn the direction of what stands beside it, or be seen by machines alone."""
    if not isinstance(value, str):
        return value
    return type(value)(clean(value))  # Markup, which has been escaped, stays Markup


def _facts(record: RunRecord, summary: RunSummary) -> list[tuple[str, str]]:
    params, counts = record.spec.params, record.counts
    facts = [
        ("Run", record.run_id),
        ("Started", f"{record.started_at:%Y-%m-%d %H:%M} UTC"),
        ("Photos", str(counts.products)),
        ("Galleries", f"{counts.galleries}, {counts.styles} references"),
        ("Method", f"{params.method}, {params.steps} steps"),
        ("Model", record.spec.engine.model),
    ]
    if summary.reused:
        facts.append(("Taken over", f"{summary.reused} from earlier runs"))
    return facts


def _parameters(record: RunRecord) -> list[tuple[str, str]]:
    spec = record.spec
    top = [("catalog", spec.catalog), ("galleries", ", ".join(spec.galleries))]
    nested = [spec.params, spec.engine, spec.pool]
    return top + [(name, str(value)) for model in nested for name, value in model]
