"""Benchmarks: pairs, tables that say who is ahead, and a run that goes on where it stopped."""

import itertools
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.cli.commands.benchmark import benchmark
from schemas.benchmark import BenchmarkRow
from schemas.evaluation import ConfidenceInterval
from schemas.presets import Preset
from stylegallery.benchmark.runner import BadFolder, Pair, make_pairs
from stylegallery.benchmark.table import comparison_table, summary_table
from tests.stylegallery.metrics.spoiling import WAYS, other, photo
from tests.tiny_model import write_tiny_model


def save(place: Path, pixels) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    grid = pixels[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    Image.fromarray(grid).resize((96, 80)).save(place)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bench")
    save(root / "contents" / "cat.png", photo())
    save(root / "contents" / "cup.png", other())
    for family, way in (("Blue", "hue"), ("Grain", "noise")):
        for number, amount in enumerate((0.3, 0.6)):
            save(root / "styles" / family / f"{number}.png", WAYS[way](other(), amount))
    write_tiny_model(root / "model")
    return root


def test_contents_and_families_take_turns(folders: Path) -> None:
    pairs = make_pairs(folders / "contents", folders / "styles", 4, 1)
    assert [pair.name for pair in pairs] == [
        "cat-Blue-0",
        "cup-Grain-0",
        "cat-Blue-1",
        "cup-Grain-1",
    ]
    two = make_pairs(folders / "contents", folders / "styles", 2, 2)
    assert [len(pair.references) for pair in two] == [2, 2]


def test_few_pairs_are_the_first_of_many_and_spread_over_all(tmp_path: Path) -> None:
    for number in range(10):
        save(tmp_path / "contents" / f"{number}.png", photo())
    for family in range(25):
        save(tmp_path / "styles" / f"{family:02}" / "a.png", other())
    many = make_pairs(tmp_path / "contents", tmp_path / "styles", 50, 1)
    assert make_pairs(tmp_path / "contents", tmp_path / "styles", 8, 1) == many[:8]
    assert len({pair.content for pair in many[:10]}) == 10
    assert len({pair.family for pair in many[:25]}) == 25
    numbers = sorted(int(pair.family) for pair in many[:8])
    assert max(b - a for a, b in itertools.pairwise(numbers)) <= 6


def test_folders_of_another_layout_are_refused(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(BadFolder, match="holds no images"):
        make_pairs(tmp_path, folders / "styles", 1, 1)
    with pytest.raises(BadFolder, match="holds no folder of 3 images or more"):
        make_pairs(folders / "contents", folders / "styles", 1, 3)


@pytest.mark.slow
def test_methods_are_compared_and_a_second_call_goes_on(
    folders: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def call(pairs: int, *presets: Preset, batch: int = 1) -> str:
        benchmark(
            contents=folders / "contents", styles=folders / "styles", out=tmp_path,
            methods=["stylegallery"], presets=list(presets), references=[1, 2],
            pairs=pairs, batch=batch, model=str(folders / "model"), device="cpu",
        )  # fmt: skip
        return capsys.readouterr().out

    call(1, "balanced", "preview")
    first = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    text = call(2, "balanced", "preview", batch=2)  # the first pair is there: the second alone
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert (len(first), len(rows)) == (4, 8)
    assert rows[:4] == first  # what was made is not made again
    assert text.strip() == (tmp_path / "table.md").read_text().strip()
    assert text.count("| stylegallery | 1 | 2 |") == 1
    assert text.count("| stylegallery preview | 2 | 2 |") == 2  # its figures, and ours against it
    assert all(0 < row["ssim"] < 1 and row["regional_gram_ratio"] > 0 for row in rows)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 8
    with Image.open(tmp_path / "sheet-2-0.png") as sheet:
        assert sheet.width > 5 * 300
    assert not list(tmp_path.rglob("*.draft"))
    monkeypatch.setattr("stylegallery.StyleGallery.load", None)
    assert call(2, "balanced") == text  # all is there: no engine is loaded, and nothing is lost
    assert "| stylegallery preview | 1 | 1 |" in call(1, "balanced")


@pytest.mark.slow
def test_pairs_that_share_calls_come_out_as_alone(folders: Path, tmp_path: Path) -> None:
    found = []
    for batch in (1, 2):
        out = tmp_path / str(batch)
        benchmark(
            contents=folders / "contents", styles=folders / "styles", out=out, pairs=2,
            methods=["stylegallery", "styleid"], presets=["preview"], references=[1],
            batch=batch, model=str(folders / "model"), device="cpu",
        )  # fmt: skip
        rows = pq.read_table(out / "rows.parquet").to_pylist()
        found.append({(r["pair"], r["method"]): (r["ssim"], r["gram_ratio"]) for r in rows})
    assert len(found[0]) == 4
    assert found[1].keys() == found[0].keys()
    for key, figures in found[0].items():
        assert found[1][key] == pytest.approx(figures, abs=0.02), key


def row(pair: int, method: str, gram: float, ssim: float) -> BenchmarkRow:
    return BenchmarkRow.model_validate(
        {"pair": f"p{pair}", "content": "c", "family": "f", "method": method, "preset": "balanced",
         "references": 1, "seconds": 2.0, "gram_ratio": gram, "ssim": ssim}
    )  # fmt: skip


def test_who_is_ahead_shows_pair_by_pair() -> None:
    """Pairs differ far more than methods do; the table sees the difference on each pair."""
    ours = [row(n, "stylegallery", 0.5 + n / 20, 0.6 + n / 50) for n in range(10)]
    theirs = [row(n, "styleid", 0.53 + n / 20, 0.64 + n / 50) for n in range(10)]
    lines = comparison_table([*ours, *theirs]).splitlines()
    assert len(lines) == 3
    head, cells = ([c.strip() for c in lines[i].split("|")[1:-1]] for i in (0, 2))
    by_name = dict(zip(head, cells, strict=True))
    assert by_name["gram ratio"] == "**+0.030 ± 0.000**"
    assert by_name["ssim"] == "-0.040 ± 0.000 behind"
    assert "patch distance" not in by_name, "no row has it"
    even = [row(n, "styleid", 0.5 + n / 20 + (-1) ** n / 50, 0.6 + n / 50) for n in range(10)]
    undecided = comparison_table([*ours, *even]).splitlines()[2]
    assert "**" not in undecided
    assert "behind" not in undecided
    few = comparison_table([*ours[:7], *theirs[:7]]).splitlines()[2]
    assert "+0.030 ± 0.000" in few
    assert "**" not in few  # too few to call it


def test_means_stand_with_their_intervals() -> None:
    rows = [row(n, "stylegallery", 0.5 + n / 20, 0.6) for n in range(10)]
    text = summary_table(
        rows, {"stylegallery, 1": ConfidenceInterval(value=1.2, low=1.1, high=1.3, count=10)}
    )
    assert "| stylegallery | 1 | 10 | 0.725 ± 0.0" in text
    assert "1.200 ± 0.100 | 2.0 |" in text


def test_a_pair_is_named_by_all_that_it_is() -> None:
    assert Pair(Path("a/b.jpg"), "Ink", (Path("c/d.png"),)).name == "b-Ink-d"
