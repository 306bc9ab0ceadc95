"""The report in a real browser: filters, pages, comparison, and no script injection."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from schemas.evaluation import ConfidenceInterval, EvaluationSummary, ItemEvaluation
from schemas.result import ItemResult, MatchRow
from tasks.evaluation.item import MEASURE
from tasks.records import parquet
from tasks.records.layout import RunFiles
from tests.browser import chromium, needs_chromium
from tests.tasks.places import at, files_of
from tests.tasks.report.test_build import EVIL, done, failed, item, photo, regions, report

pytestmark = [needs_chromium, pytest.mark.slow]

COUNT, FLAGGED = 75, 5


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run of 75 items with metrics, two without assets, and malicious names."""
    root = tmp_path_factory.mktemp("browser")
    for name, data in (("photo.png", photo(1)), ("style.png", photo(2, (60, 60)))):
        at(root / name).write_bytes(data)
    output = root / "out"
    at(output / "regions" / "a.png").write_bytes(regions())
    galleries = ("ink", "silk", EVIL.replace("/", "|"))
    items = [item(root, n, f"product-{n}", galleries[n % 3]) for n in range(COUNT)]
    results = []
    for n, one in enumerate(items):
        category = {"category": ("bag", EVIL)[n % 2]}
        results.append(done(one).model_copy(update={"extra": category, "asset_sha256": ""}))
    bad = [item(root, COUNT, "broken", "ink"), item(root, COUNT + 1, EVIL, "silk")]
    results += [failed(bad[0], "rejected"), failed(bad[1], "failed")]
    _evaluate(files_of(output), results[:COUNT])
    report(output, [*items, *bad], results)
    return output / "runs" / "run-1" / "report" / "index.html"


def _evaluate(files: RunFiles, results: list[ItemResult]) -> None:
    rows = [
        ItemEvaluation(
            item_id=row.item_id,
            product_id=row.product_id,
            view=row.view,
            gallery_id=row.gallery_id,
            asset_sha256="",
            measure=MEASURE,
            ssim=0.3 + n / 200,
            gram_ratio=0.9 - n / 300,
            flags=["ssim is 0.3, below 0.4"] if n < FLAGGED else [],
        )
        for n, row in enumerate(results)
    ]
    span = ConfidenceInterval(value=0.5, low=0.45, high=0.55, count=COUNT)
    summary = EvaluationSummary(
        items=COUNT, measured=COUNT, flagged=FLAGGED, figures={"ssim": span, "gram_ratio": span}
    )
    parquet.write_rows(files.evaluation / "part-00000-00000.parquet", rows, ItemEvaluation)
    files.evaluation_summary.write_bytes(summary.model_dump_json().encode())
    matches = [match for row in results for match in row.matches]
    parquet.write_rows(files.matches / "part-00000-00000.parquet", matches, MatchRow)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser, written: Path) -> Iterator[Page]:
    """The opened report; an error in the browser fails the test."""
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(f"alert {dialog.message}"))
    opened.goto(written.as_uri())
    yield opened
    opened.close()
    assert complaints == []


def cards(page: Page) -> int:
    return page.locator("article:visible").count()


def test_filters_change_what_is_shown(page: Page) -> None:
    assert page.locator("article").count() == COUNT
    assert (
        page.locator("h1").inner_text()
        == f"{COUNT} of {COUNT + 2} restyled, 5 flagged, 1 rejected, 1 failed"
    )
    page.get_by_text("silk", exact=True).first.click()
    assert cards(page) == 25
    assert page.locator(".bar output").inner_text() == f"25 of {COUNT}"
    page.get_by_text("Only flagged").click()
    assert cards(page) == 2  # of products 0 to 4, number 1 and 4
    page.get_by_text("All", exact=True).first.click()
    assert cards(page) == FLAGGED
    page.get_by_text("Only flagged").click()
    page.locator("select[name=category]").select_option("bag")
    assert cards(page) == 38
    page.locator("select[name=category]").select_option("")
    page.locator("label", has=page.locator("input[name=status][value=failed]")).click()
    assert cards(page) == 0
    assert page.locator(".troubles li:visible").count() == 1


def test_pages_can_be_turned(page: Page) -> None:
    pages = page.locator(".pages")
    assert (cards(page), pages.locator("output").inner_text()) == (60, f"1 to 60 of {COUNT}")
    assert pages.get_by_text("Previous").is_disabled()
    pages.get_by_text("Next").click()
    assert (cards(page), pages.locator("output").inner_text()) == (15, f"61 to 75 of {COUNT}")
    assert pages.get_by_text("Next").is_disabled()
    page.get_by_text("silk", exact=True).first.click()
    assert not pages.is_visible()


def test_regions_are_shown_by_key_and_by_switch(page: Page) -> None:
    overlay = page.locator("article .overlay").first
    assert overlay.evaluate("e => getComputedStyle(e).opacity") == "0"
    page.keyboard.press("r")
    page.wait_for_function("e => getComputedStyle(e).opacity === '1'", arg=overlay.element_handle())
    assert page.locator("#regions").is_checked()
    page.locator(".switch").click()
    page.wait_for_function("e => getComputedStyle(e).opacity === '0'", arg=overlay.element_handle())


def test_before_and_after_are_compared_item_by_item(page: Page) -> None:
    page.locator(".compare").first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    over = dialog.locator(".over")
    before = over.evaluate("e => e.style.clipPath")
    page.keyboard.press("ArrowRight")
    assert over.evaluate("e => e.style.clipPath") != before
    first = dialog.locator("p").inner_text()
    assert first.startswith("product-0 in ")
    dialog.get_by_text("Next").click()
    assert dialog.locator("p").inner_text().startswith("product-1 in ")
    dialog.get_by_text("Previous").click()
    assert dialog.locator("p").inner_text() == first
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_values_are_escaped(page: Page) -> None:
    assert page.locator("article .quiet", has_text="<script>alert").count() > 0
    assert page.locator("script").count() == 1
    assert "<script>" in page.locator(".troubles").inner_text()


def test_charts_are_drawn(page: Page) -> None:
    charts = page.locator(".chart")
    names = charts.locator("b").all_inner_texts()
    assert names == ["similarity of matched regions", "SSIM", "gram ratio"]
    assert charts.nth(1).locator("rect").count() > 5
    page.locator("article summary").first.click()
    assert "gram ratio" in page.locator("article .figures").first.inner_text()


@pytest.mark.parametrize("width", [390, 768, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(
    browser: Browser, written: Path, width: int, scheme: str
) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    opened.goto(written.as_uri())
    opened.locator("article summary").first.click()
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = opened.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert ink != paper
    opened.close()


def test_everything_is_reachable_by_keyboard(page: Page) -> None:
    """Tab moves from the filters to the first image, and the focused element is outlined."""
    reached = set()
    named = "(e => e.className || e.name || e.id)(document.activeElement)"
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(named))
    assert {"gallery", "status", "flagged", "category", "regions", "compare"} <= reached
