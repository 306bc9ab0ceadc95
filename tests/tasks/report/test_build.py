"""The report: its content, the escaping of values, and no external resources."""

import io
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from schemas.result import ErrorInfo, ItemResult, MatchRow
from schemas.run import PlanCounts, RestyleSpec, RunRecord
from schemas.text import has_control_characters
from schemas.work import StyleSource, WorkItem
from stylegallery.errors import BadImage
from stylegallery.palette import NEUTRAL, content_colors, region_color
from stylegallery.regions.region_png import decode_region_map
from tasks.errors import FileMissing, FileTooLarge
from tasks.items.thumbnails import thumbnail_path
from tasks.records import parquet
from tasks.report import thumbnails as thumbnails_module
from tasks.report.build import build_report
from tasks.report.data import read_report_data
from tasks.report.thumbnails import (
    Thumbnail,
    ThumbnailStore,
    overlay,
    thumbnail,
)
from tests.tasks.places import at, files_of

EVIL = '<script>alert("x")</script>'


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def photo(seed: int, size: tuple[int, int] = (90, 60)) -> bytes:
    small = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return png(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))


def regions() -> bytes:
    labels = np.zeros((6, 9), np.uint8)
    labels[:, 4:] = 1
    image = Image.fromarray(labels, "P")
    image.putpalette([200, 0, 0, 0, 200, 0])
    return png(image)


def item(root: Path, number: int, product: str, gallery: str) -> WorkItem:
    return WorkItem(
        item_id=f"{number:064d}",
        product_id=product,
        view="main",
        gallery_id=gallery,
        image_uri=str(root / "photo.png"),
        image_version="v",
        seed=1,
        styles=[StyleSource(style_id=EVIL, image_uri=str(root / "style.png"), image_version="v")],
        image_format="png",
    )


def done(of: WorkItem) -> ItemResult:
    match = MatchRow(
        region=0,
        area=0.44,
        centroid_x=0.2,
        centroid_y=0.5,
        style_id=EVIL,
        style_region=1,
        semantic=0.5,
        statistical=0.25,
        geometric=0.125,
        similarity=0.875,
        fallback="none",
    )
    other = match.model_copy(update={"region": 1, "area": 0.56, "fallback": "global"})
    return ItemResult(
        **of.model_dump(include={"item_id", "product_id", "view", "gallery_id"}),
        status="ok",
        asset_uri=of.asset_key,
        width=90,
        height=60,
        regions_uri="regions/a.png",
        style_regions={EVIL: "regions/a.png"},
        matches=[match, other],
        timings={"prepare": 1.0, "stylize": 3.0, "total": 4.5},
        extra={"season": EVIL},
        seed=1,
    )


def failed(of: WorkItem, status: str) -> ItemResult:
    error = ErrorInfo(stage="decode", type="BadImage", message=f"{EVIL} is bad", traceback=EVIL)
    keys = of.model_dump(include={"item_id", "product_id", "view", "gallery_id"})
    return ItemResult.model_validate({**keys, "status": status, "error": error})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output with photos and region maps, like that of a run."""
    for name, data in (("photo.png", photo(1)), ("style.png", photo(2, (60, 60)))):
        at(tmp_path / name).write_bytes(data)
    at(tmp_path / "out" / "regions" / "a.png").write_bytes(regions())
    return tmp_path / "out"


def report(output: Path, items: list[WorkItem], results: list[ItemResult]) -> str:
    files = files_of(output)
    parquet.write_rows(files.plan / "part-00000-00000.parquet", items, WorkItem)
    parquet.write_rows(files.results / "part-00000-00000.parquet", results, ItemResult)
    for number, result in enumerate(results):
        if result.asset_uri:
            at(output / result.asset_uri).write_bytes(photo(number))
    record = RunRecord(
        run_id="run-1",
        schema_version=1,
        spec=RestyleSpec(catalog=f"{EVIL}.parquet", galleries=["g.parquet"], output=str(output)),
        versions={"torch": "2"},
        engine_fingerprint=EVIL,
        counts=PlanCounts(items=len(items), products=1, galleries=2, styles=1),
        state="finished",
        started_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    )
    files.record.write_bytes(record.model_dump_json().encode())
    assert build_report(str(output), "run-1") == files.report.uri
    return Path(files.report.uri).read_text(encoding="utf-8")


def mixed(output: Path) -> str:
    root = output.parent
    names = ((f"cup {EVIL}", "ink"), ("cup", "silk"), ("bag", "ink"), ("hat", "ink"))
    items = [item(root, n, product.replace("/", "|"), g) for n, (product, g) in enumerate(names)]
    results = [done(items[0]), done(items[1]), failed(items[2], "rejected")]
    return report(output, items, [*results, failed(items[3], "failed")])


def test_every_value_is_escaped(output: Path) -> None:
    page = mixed(output)
    assert "alert(&#34;x&#34;)" in page
    assert 'alert("x")' not in page
    assert page.count("<script>") == 1  # the report's own


def test_invisible_and_direction_changing_characters_are_removed(output: Path) -> None:
    one = item(output.parent, 0, "cup", "ink")
    row = done(one).model_copy(update={"extra": {"note\x07": "\x1b[31mred\u202egpj\n\x9b2J"}})
    page = report(output, [one], [row])
    assert "[31mred\N{REPLACEMENT CHARACTER}gpj" in page
    assert not has_control_characters("".join(page.split()))


def test_there_are_no_external_resources(output: Path) -> None:
    page = mixed(output)
    assert not re.search(r"https?://", page)
    assert "default-src 'none'" in page
    loaded = re.findall(r'<(?:img|image)[^>]*?(?:src|href)="([^"]*)"', page)
    assert loaded
    assert all(uri.startswith("data:image/") for uri in loaded)
    assert "<link" not in page


def test_it_shows_items_matches_failures_and_times(output: Path) -> None:
    page = mixed(output)
    assert "2 of 4 restyled, 1 rejected, 1 failed" in page
    assert page.count("<article") == 2
    assert page.index("Items to fix") < page.index("<article")
    assert "<b>0.88</b>" in page
    assert "whole gallery" in page
    assert "4.5 s" in page
    assert 'value="silk"' in page
    assert "retry.parquet" in page


def test_region_numbers_are_those_of_routing_json(output: Path) -> None:
    """They are also those of the match panels, and count from 0."""
    one = item(output.parent, 0, "cup", "ink")
    row = done(one)
    page = report(output, [one], [row])
    told = re.findall(r'</i>(\d+) <span class="quiet">\d+ %</span></td>', page)
    lent = re.findall(r'<span class="quiet">region (\d+)', page)
    largest_first = sorted(row.matches, key=lambda match: -match.area)
    assert told == [str(match.region) for match in largest_first]
    assert lent == [str(match.style_region) for match in largest_first]


def test_warnings_are_shown_above_and_on_the_card(output: Path) -> None:
    items = [item(output.parent, n, f"p{n}", "ink") for n in range(2)]
    warned = done(items[0]).model_copy(update={"warnings": [f"reference {EVIL} is nearly black"]})
    page = report(output, items, [warned, done(items[1])])
    assert "2 of 2" not in page
    assert "2 restyled, 1 with a warning" in page
    assert page.count("alert(&#34;x&#34;)&lt;/script&gt; is nearly black") == 2
    assert page.index("is nearly black") < page.index("<article")


def test_tables_without_a_warnings_column_are_read(output: Path) -> None:
    items = [item(output.parent, 0, "p", "ink")]
    page = report(output, items, [done(items[0])])
    part = files_of(output).results / "part-00000-00000.parquet"
    part.write_bytes(parquet.to_bytes(parquet.read_table(part).drop_columns("warnings")))
    assert Path(build_report(str(output), "run-1")).read_text(encoding="utf-8") == page


def test_a_hundred_items_stay_about_a_megabyte(output: Path) -> None:
    items = [item(output.parent, n, f"product-{n}", "ink") for n in range(100)]
    page = report(output, items, [done(one) for one in items])
    assert page.count("<article") == 100
    assert len(page) < 1_000_000


def test_it_is_built_without_missing_pictures(output: Path) -> None:
    items = [item(output.parent, 0, "cup", "ink")]
    (output.parent / "photo.png").unlink()
    (output.parent / "style.png").write_bytes(b"no picture")
    page = report(output, items, [done(items[0])])
    assert "The photo cannot be read." in page


def test_thumbnails_of_actors_replace_missing_pictures(output: Path) -> None:
    one = item(output.parent, 0, "cup", "ink")
    row = done(one).model_copy(update={"asset_sha256": "ab" * 32})
    for version in (one.image_version, f"sha256:{row.asset_sha256}"):
        at(output / thumbnail_path(version)).write_bytes(photo(5))
    for name in ("photo.png", "style.png"):
        (output.parent / name).unlink()
    page = report(output, [one], [row])
    (output / one.asset_key).unlink()
    assert Path(build_report(str(output), "run-1")).read_text(encoding="utf-8") == page
    assert "cannot be read" not in page


@pytest.mark.parametrize(
    ("side", "most_bytes", "at_once"), [(2100, 2**24, 1), (100, 10, 1), (100, 2**24, 8)]
)
def test_large_pictures_are_decoded_one_at_a_time(
    side: int, most_bytes: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large in pixels or in bytes; small ones do not wait."""
    data = png(Image.new("RGBA", (side, side)))
    inside, most, changing = 0, 0, threading.Lock()

    def counted(*args: Any) -> Thumbnail:
        nonlocal inside, most
        with changing:
            inside += 1
            most = max(most, inside)
        time.sleep(0.05)
        try:
            return thumbnail(*args)
        finally:
            with changing:
                inside -= 1

    def fetch(uri: str, limit: int) -> bytes:
        if uri.startswith("thumbnails/"):
            raise FileMissing(uri)
        if len(data) > limit:
            raise FileTooLarge(uri)
        return data

    monkeypatch.setattr(thumbnails_module, "thumbnail", counted)
    monkeypatch.setattr(thumbnails_module, "_LARGE_BYTES", most_bytes)
    thumbnails = ThumbnailStore(fetch, size=(64, 70))
    uris = [str(number) for number in range(8)]
    thumbnails.load({uri: "v" for uri in uris}, set())
    assert all(map(thumbnails.photo, uris))
    assert most <= at_once


def test_regions_have_the_color_of_their_reference_region() -> None:
    colours = {("a", 1): (1, 2, 3)}
    row = MatchRow(
        region=0, area=1, centroid_x=0, centroid_y=0, style_id="a", style_region=1, semantic=0,
        statistical=0, geometric=0, similarity=0, fallback="none",
    )  # fmt: skip
    kept = row.model_copy(update={"region": 1, "fallback": "content"})
    assert content_colors([row, kept], colours) == ({0: (1, 2, 3), 1: NEUTRAL}, frozenset({1}))


def test_an_overlay_keeps_every_region_and_its_color() -> None:
    labels = decode_region_map(regions())
    assert set(labels.ravel().tolist()) == {0, 1}
    drawn = overlay(labels, {0: (255, 0, 0), 1: (0, 0, 255)})
    assert drawn.width > drawn.height
    assert len({region_color(index) for index in range(256)}) == 256


@pytest.mark.parametrize("data", [b"", b"text", photo(1)[:60]])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(BadImage):
        thumbnail(data, 64, 70)


def test_postscript_is_not_interpreted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *of, **_: asked.append(of))
    program = io.BytesIO()
    Image.new("RGB", (40, 40)).save(program, "EPS")
    with pytest.raises(BadImage):
        thumbnail(program.getvalue(), 32, 80)
    assert not asked


def test_sixteen_bit_and_transparent_pictures_have_thumbnails() -> None:
    deep = png(Image.fromarray(np.full((40, 40), 40_000, np.uint16)))
    clear = png(Image.new("RGBA", (40, 40), (255, 0, 0, 100)))
    assert (thumbnail(deep, 32, 70).width, thumbnail(clear, 32, 70).width) == (32, 32)


def test_timings_leave_out_reused_items(output: Path) -> None:
    computed = done(item(output, 0, "a", "ink"))
    other = item(output, 1, "b", "ink")
    reused = done(other).model_copy(update={"reused": True, "timings": {"total": 99.0}})
    report(output, [item(output, 0, "a", "ink"), other], [computed, reused])
    summed = read_report_data(files_of(output), 9, 9).timings
    assert (summed.items, summed.mean) == (1, 4.5)
    assert [round(one.share, 2) for one in summed.slices] == [0.25, 0.75]
