"""The report of a run: one HTML file that shows and explains what came out.

It is built from the tables and pictures below the output root alone, so it can be built again
at any time, wherever the run took place.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import jinja2

from schemas.result import ItemResult
from schemas.run import RunRecord, RunSummary
from schemas.work import WorkItem
from tasks import storage, tables
from tasks.plan_items import read_items
from tasks.report_cards import Album, make_cards
from tasks.report_view import headline, pick, timings
from tasks.run_files import RunFiles

_MOST_CARDS: Final = 300
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
    record = RunRecord.model_validate_json(storage.read_bytes(files.record))
    items = {item.item_id: item for item in read_items(files)}
    results = tables.read_rows(files.results, ItemResult)
    inputs = {item.image_uri for item in items.values()}
    inputs |= {style.image_uri for item in items.values() for style in item.styles}

    def fetch(uri: str) -> bytes:
        return storage.read_bytes(uri if uri in inputs else storage.join(root, uri))

    page = render(record, items, results, Album(fetch))
    storage.write_bytes(files.report, page.encode())
    return files.report


def render(
    record: RunRecord, items: dict[str, WorkItem], results: Sequence[ItemResult], album: Album
) -> str:
    """Return the page. Every value from a manifest passes through the template's escaping."""
    shown = pick(results, items, _MOST_CARDS)
    cards = make_cards(shown, items, album)
    troubled = sorted(
        (r for r in results if r.status != "ok"),
        key=lambda r: (r.status, r.product_id, r.view, r.gallery_id),
    )
    counts = {s: sum(r.status == s for r in results) for s in ("ok", "rejected", "failed")}
    summary = RunSummary(**counts, reused=sum(r.reused for r in results))
    template = _environment().get_template("report.html.j2")
    return template.render(
        run=record,
        headline=headline(summary),
        facts=_facts(record, summary),
        parameters=_parameters(record),
        summary=summary,
        galleries=sorted({r.gallery_id for r in results}),
        statuses=[status for status, count in counts.items() if count],
        troubled=troubled[:_MOST_TROUBLES],
        hidden_troubles=len(troubled) - len(troubled[:_MOST_TROUBLES]),
        cards=cards,
        dense=len(cards) > 12,
        hidden_cards=summary.ok - len(cards),
        images=list(album.shared.values()),
        timings=timings(results),
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["path"] = quote
    return environment


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
