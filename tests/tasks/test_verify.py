"""Every fault that `verify` reports is mended by the command that it names."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.result import ItemResult
from schemas.run import RestyleSpec
from stylegallery import StyleGallery
from tasks import planning
from tasks.bench import Bench
from tasks.errors import FileMissing
from tasks.item import restyle_items
from tasks.lease import ActorSetup, Assignment
from tasks.newest_run import find_run
from tasks.verify import verify
from tests.tasks.conftest import MakeSpec
from tests.tasks.test_crash import Doer, drive


@dataclass(frozen=True)
class Home:
    """A finished run to be spoilt."""

    output: Path
    run_id: str

    @property
    def run(self) -> Path:
        return self.output / "runs" / self.run_id

    def part(self, table: str) -> Path:
        return min((self.run / table).glob("*.parquet"))

    def asset(self) -> Path:
        return min((self.output / "assets").rglob("*.png"))

    def maps(self, column: str) -> list[Path]:
        row = pq.read_table(self.part("results")).to_pylist()[0]
        named = row["style_regions"] if column == "style_regions" else [("", row[column])]
        return [self.output / path for _, path in named]


def other_bytes(path: Path) -> None:
    path.write_bytes(b"other")


def last_bytes(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes(20))


def edit(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def recoloured(table: pa.Table) -> pa.Table:
    return table.set_column(table.schema.names.index("seed"), "seed", pa.array([7] * len(table)))


def twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table])


def all_tables(home: Home) -> None:
    for table in ("plan", "results", "matches", "ledger"):
        shutil.rmtree(home.run / table)


SPOILT, GONE = "its bytes are not those that were written", "is missing"
ANEW, LOST = "is not as it was written", "not found"
KINDS: dict[str, tuple[Callable[[Home], object], str]] = {
    "asset spoilt": (lambda h: other_bytes(h.asset()), SPOILT),
    "asset spoilt, size kept": (lambda h: last_bytes(h.asset()), SPOILT),
    "asset gone": (lambda h: h.asset().unlink(), GONE),
    "photo's map spoilt": (lambda h: other_bytes(*h.maps("regions_uri")), SPOILT),
    "photo's map gone": (lambda h: h.maps("regions_uri")[0].unlink(), GONE),
    "reference's map spoilt": (lambda h: last_bytes(*h.maps("style_regions")), SPOILT),
    "all maps gone": (lambda h: shutil.rmtree(h.output / "regions"), GONE),
    "maps and assets gone": (
        lambda h: [shutil.rmtree(h.output / name) for name in ("regions", "assets")],
        GONE,
    ),
    "mark gone": (lambda h: (h.run / "_SUCCESS").unlink(), "_SUCCESS is missing"),
    "mark spoilt": (lambda h: other_bytes(h.run / "_SUCCESS"), "_SUCCESS is damaged"),
    "mark nested": (
        lambda h: (h.run / "_SUCCESS").write_text("[" * 100_000),
        "_SUCCESS is damaged",
    ),
    "record gone": (lambda h: (h.run / "run.json").unlink(), "run.json is missing"),
    "record spoilt": (lambda h: other_bytes(h.run / "run.json"), "run.json is damaged"),
    "plan gone": (lambda h: shutil.rmtree(h.run / "plan"), "holds no plan"),
    "plan spoilt": (lambda h: other_bytes(h.part("plan")), "no Parquet file"),
    "plan lacks a row": (lambda h: edit(h.part("plan"), lambda t: t.slice(1)), "was not planned"),
    "plan holds a row twice": (lambda h: edit(h.part("plan"), twice), "planned 2 times"),
    "plan changed": (lambda h: edit(h.part("plan"), recoloured), ANEW),
    "plan lacks its references": (lambda h: shutil.rmtree(h.run / "plan/_galleries"), ANEW),
    "a part too many": (
        lambda h: [
            shutil.copy(h.part(table), h.run / table / "part-99999-00000.parquet")
            for table in ("plan", "results", "matches")
        ],
        "2 rows instead of one",
    ),
    "results gone": (lambda h: shutil.rmtree(h.run / "results"), LOST),
    "results spoilt": (lambda h: last_bytes(h.part("results")), "no Parquet file"),
    "results lack a row": (
        lambda h: edit(h.part("results"), lambda t: t.slice(1)),
        "planned, but has no row",
    ),
    "results hold a row twice": (
        lambda h: edit(h.part("results"), twice),
        "2 rows instead of one",
    ),
    "results changed": (lambda h: edit(h.part("results"), recoloured), ANEW),
    "matches gone": (lambda h: shutil.rmtree(h.run / "matches"), LOST),
    "matches spoilt": (lambda h: other_bytes(h.part("matches")), "no Parquet file"),
    "matches lack rows": (
        lambda h: edit(h.part("matches"), lambda t: t.slice(0, 0)),
        "matches are of regions []",
    ),
    "matches twice": (lambda h: edit(h.part("matches"), twice), "matches are of regions [0, 0"),
    "all tables of the run gone": (all_tables, "holds no plan"),
}


@pytest.fixture(scope="module")
def _fingerprinted() -> Iterator[None]:
    """Hash the model once: it stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "engine_fingerprint", lru_cache(planning.engine_fingerprint))
        yield


class Engines:
    """Drives runs with one engine, and keeps the rows that it gave."""

    def __init__(self, engine: StyleGallery) -> None:
        self.first: tuple[RestyleSpec, str] | None = None
        self.made: list[ItemResult] = []
        self._engine = engine

    def drive(self, spec: RestyleSpec) -> str:
        self.made.clear()
        return drive(spec, self._doer).run_id

    def _doer(self, setup: ActorSetup) -> Doer:
        bench = Bench(self._engine, setup.output, setup.params)

        def do(assignment: Assignment) -> ItemResult:
            self.made.append(restyle_items(bench, [assignment])[0]())
            return self.made[-1].model_copy(update={"run_id": setup.run_id})

        return do


@pytest.fixture(scope="module")
def engines(engine: StyleGallery) -> Engines:
    return Engines(engine)


@pytest.fixture
def spec(
    make_spec: MakeSpec, engines: Engines, tmp_path: Path, _fingerprinted: None
) -> RestyleSpec:
    """Of a finished run of two products, in an output that may be spoilt."""
    if engines.first is None:
        whole = make_spec(products=2, only=["rocket"])
        engines.first = whole, engines.drive(whole)
        assert verify(whole.output, engines.first[1]).ok
    output = shutil.copytree(engines.first[0].output, tmp_path / "spoilt")
    return engines.first[0].model_copy(update={"output": str(output)})


@pytest.mark.parametrize("name", KINDS)
def test_each_fault_is_mended_by_the_command_that_is_named(
    name: str, spec: RestyleSpec, engines: Engines
) -> None:
    assert engines.first is not None
    harm, words = KINDS[name]
    home = Home(Path(spec.output), engines.first[1])
    harm(home)
    assert find_run(spec.output, home.run_id) == home.run_id
    before = {path: path.stat().st_mtime_ns for path in home.output.rglob("*")}
    problems = verify(spec.output, home.run_id).problems
    assert any(words in problem for problem in problems), problems
    assert before == {path: path.stat().st_mtime_ns for path in home.output.rglob("*")}
    for problem in problems:
        assert "run the same command again" in problem or "run it again" in problem
    look = any("with --check-assets" in problem for problem in problems)
    assert engines.drive(spec.model_copy(update={"check_assets": look})) == home.run_id
    assert verify(spec.output, home.run_id).problems == []
    # What stands is taken over; only a picture that is lost or spoilt is made again.
    lost = {"asset gone": 1, "maps and assets gone": 2}.get(name, name.startswith("asset spoilt"))
    assert sum(not row.reused for row in engines.made) == lost


def test_a_run_that_an_older_version_closed_is_closed_anew(
    spec: RestyleSpec, engines: Engines
) -> None:
    """Its mark tells nothing of the matches; nothing is wrong with that."""
    assert engines.first is not None
    mark = Path(spec.output, "runs", engines.first[1], "_SUCCESS")
    content = json.loads(mark.read_text())
    del content["matches_sha256"]
    mark.write_text(json.dumps(content))
    assert verify(spec.output, engines.first[1]).ok
    engines.drive(spec)
    assert engines.made == []
    assert "matches_sha256" in json.loads(mark.read_text())
    assert planning.plan(spec).closed


def test_verify_of_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="check the output and the run id"):
        verify(str(tmp_path), "run-0")
