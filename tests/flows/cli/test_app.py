"""The command line: commands, exit codes and messages."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from flows.cli.app import main
from flows.cli.commands.schema import MODELS, schema
from schemas.params import SETTINGS
from schemas.run import PlanCounts, RestyleSpec, RunRecord
from schemas.text import has_control_characters
from tasks.records.newest_run import find_run
from tasks.records.run_record import write_record
from tests.tasks.places import files_of
from tests.tiny_model import write_tiny_model

COMMANDS = "demo manifest plan run stylize learn status verify report doctor schema".split()  # noqa: SIM905
HEAVY = ("torch", "diffusers", "transformers", "ray", "prefect")


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stylegallery(capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Return a caller of the command line: exit code, stdout, stderr."""
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in handled}
    hook = sys.unraisablehook

    def call(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        code = ended.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    yield call
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


def imported_by(*words: str) -> set[str]:
    """Return the heavy packages that a command imports."""
    code = (
        "import sys; from flows.cli.app import main\n"
        f"try: main({list(words)!r})\n"
        "except SystemExit: pass\n"
        f"print('LOADED', *[n for n in {HEAVY!r} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a diffusers folder that the real loader reads."""
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def manifests(tmp_path: Path, stylegallery: Command) -> tuple[Path, Path]:
    """Return a catalog of two products and a gallery of one reference."""
    for name, colour in (("products/a", "red"), ("products/b", "blue"), ("styles/s/x", "gold")):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 64), colour).save(path)
    catalog, galleries = tmp_path / "catalog.parquet", tmp_path / "galleries.parquet"
    code, _, said = stylegallery("manifest", "catalog", tmp_path / "products", "--out", catalog)
    assert (code, "2 photos of 2 products" in said) == (0, True)
    code, _, said = stylegallery("manifest", "gallery", tmp_path / "styles", "--out", galleries)
    assert (code, "1 reference in 1 gallery" in said) == (0, True)
    return catalog, galleries


def test_help_names_every_command_and_imports_nothing_heavy(stylegallery: Command) -> None:
    code, shown, _ = stylegallery("--help")
    assert code == 0
    for command in COMMANDS:
        assert f" {command} " in shown
    assert imported_by("--help") == set()


@pytest.mark.parametrize("command", ["run", "stylize"])
def test_help_of_a_command_imports_nothing_heavy(command: str) -> None:
    assert imported_by(command, "--help") == set()


@pytest.mark.parametrize("command", ["run", "stylize"])
def test_help_tells_of_depth_and_sam(command: str, stylegallery: Command) -> None:
    code, shown, _ = stylegallery(command, "--help")
    assert code == 0
    assert "--depth" in shown
    assert "--sam" in shown


def test_plan_says_what_is_to_do_and_changes_nothing(
    manifests: tuple[Path, Path], tmp_path: Path, stylegallery: Command
) -> None:
    words = ["--catalog", str(manifests[0]), "--galleries", str(manifests[1])]
    words += ["--output", str(tmp_path / "out")]
    for command in (["plan", *words], ["run", *words, "--dry-run"]):
        code, _, said = stylegallery(*command)
        assert code == 0
        assert "2 photos, 1 gallery, 1 reference: 2 items" in said
        assert "0 done, 2 to do" in said
        assert not (tmp_path / "out").exists()
    assert imported_by("plan", *words) == set()


def test_plan_counts_styles_to_learn_without_torch(
    stylegallery: Command, manifests: tuple[Path, Path], tmp_path: Path
) -> None:
    catalog, galleries = map(str, manifests)
    words = ["--catalog", catalog, "--galleries", galleries, "--output", str(tmp_path / "out")]
    words += ["--preset", "catalog"]
    _, _, said = stylegallery("run", *words, "--dry-run")
    assert "  1 style to learn first" in said
    assert imported_by("plan", *words) == set()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "not given: catalog, galleries, output"),
        (["paint"], "paint"),
        (["plan", "--catalogue", "c"], "--catalog"),
        (["plan", "--actors", "many"], "many"),
        (["plan", "--set", "steps", "10"], "write it as one word, --set steps=10"),
        (["plan", "--catalog", "my", "photos"], "`photos` after my belongs to no flag"),
        (["status", "no-folder"], "holds no run"),
        (["explain", "no-folder", "--product", "a", "--out", "x"], "holds no run"),
        (["schema", "catalogue"], "did you mean `catalog`"),
        (["stylize", "--content", "a.jpg", "--style", "b.jpg", "--out", "c.gif"], ".png"),
        (["stylize", "--content", "no.jpg", "--style", "b.jpg", "--out", "c.png"], "no.jpg"),
        (["plan", "--catalog", "no.parquet", "--galleries", "g", "--output", "o"], "no.parquet"),
        (["plan", "--catalog", "\x1b[2J\u202ec", "--galleries", "g", "--output", "o"], "[2J"),
        (["report", "no-folder", "--run", "run-1"], "run-1"),
        (["verify", "no-folder", "--run", "run-1"], "run-1"),
        (["status", "no-folder", "--run", "run-1"], "run-1"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_sentence(
    stylegallery: Command, words: list[str], message: str
) -> None:
    code, printed, said = stylegallery(*words)
    assert (code, printed) == (2, "")
    assert message in said
    assert said.count("\n") == 1
    assert not has_control_characters(said.strip())
    assert said.startswith("stylegallery: ")


@pytest.mark.parametrize("command", ["manifest", "stylize", "explain"])
def test_a_full_disk_is_no_wrong_usage(
    command: str,
    manifests: tuple[Path, Path],
    tiny_model: Path,
    tmp_path: Path,
    stylegallery: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = tmp_path / "products/a.png"
    words: dict[str, list[str | Path]] = {
        "manifest": ["manifest", "catalog", tmp_path / "products", "--out", tmp_path / "c.parquet"],
        "stylize": [
            "stylize", "--content", photo, "--style", photo, "--out", tmp_path / "a.png",
            "--model", tiny_model, "--set", "steps=1", "--set", "image_size=64",
        ],
        "explain": ["explain", tmp_path / "out", "--product", "a", "--out", tmp_path / "told"],
    }  # fmt: skip

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    found = SimpleNamespace(folder="a", files={"matches.png": b"x"})
    monkeypatch.setattr("flows.cli.commands.inspect.find_run", lambda output, run: run)
    monkeypatch.setattr("tasks.results.explain.explain", lambda *_: [found])
    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, said = stylegallery(*words[command])
    assert code == 1
    assert "o space left on device" in said.splitlines()[-1]
    assert "free some" in said.splitlines()[-1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_is_told() -> None:
    code = "from flows.cli.app import main; main(['schema', 'params', '--json'])"
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE)
    assert (ran.returncode, ran.stderr.count(b"\n")) == (1, 1)
    assert b"no space left on device" in ran.stderr


def test_stylize_takes_what_the_user_decides(
    tmp_path: Path, tiny_model: Path, stylegallery: Command
) -> None:
    photo, style = tmp_path / "photo.png", tmp_path / "style.png"
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(photo)
    Image.radial_gradient("L").resize((64, 64)).convert("RGB").save(style)
    mask, white = tmp_path / "mask.png", tmp_path / "white.png"
    halves = Image.new("RGB", (64, 48), "red")
    halves.paste("blue", (32, 0, 64, 48))
    halves.save(mask)
    Image.new("L", (64, 48), 255).save(white)
    out, regions = tmp_path / "out.png", tmp_path / "regions"
    words = ["stylize", "--content", photo, "--style", style, "--out", out, "--model", tiny_model]
    words += ["--set", "image_size=64", "--set", "steps=1", "--set", "inversion_steps=2"]
    words += ["--mask", mask, "--protect", white, "--save-regions", regions]
    code, _, said = stylegallery(*words)
    assert code == 0, said
    assert "2 regions from 1 reference" in said
    with Image.open(out) as made, Image.open(photo) as original:
        assert made.tobytes() == original.tobytes()
        assert '"engine":' in made.info["stylegallery"]
    with Image.open(regions / "matches.png") as panel:
        assert panel.width > 300
    Image.new("L", (64, 40), 255).save(white)
    code, _, said = stylegallery(*words)
    assert (code, "make them the same size" in said) == (2, True)


def test_stylize_warns_of_a_blank_reference(
    tmp_path: Path, tiny_model: Path, stylegallery: Command
) -> None:
    photo, clear = tmp_path / "photo.png", tmp_path / "clear.png"
    Image.linear_gradient("L").resize((64, 48)).save(photo)
    Image.new("RGBA", (64, 48)).save(clear)
    words = ["stylize", "--content", photo, "--style", clear, "--style", photo]
    words += ["--out", tmp_path / "out.png", "--model", tiny_model]
    words += ["--set", "image_size=64", "--set", "steps=1", "--set", "inversion_steps=2"]
    code, _, said = stylegallery(*words)
    assert code == 0, said
    assert said.count("warning: ") == 1
    assert f"warning: --style {clear} is fully transparent, so it has hardly any style" in said


def test_stylize_refuses_what_the_format_cannot_hold(tmp_path: Path, stylegallery: Command) -> None:
    photo, style, out = tmp_path / "wide.png", tmp_path / "style.png", tmp_path / "out.webp"
    Image.new("L", (16_384, 1024)).save(photo)
    Image.linear_gradient("L").save(style)
    code, _, said = stylegallery("stylize", "--content", photo, "--style", style, "--out", out)
    assert (code, out.exists()) == (2, False)
    assert "wide.png is 16384x1024 px, and webp holds at most 16383 px a side; choose png" in said


def test_a_learnt_style_is_a_file_that_stylize_takes(
    tmp_path: Path, tiny_model: Path, stylegallery: Command
) -> None:
    photo, style, other = (tmp_path / f"{name}.png" for name in ("photo", "style", "other"))
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(photo)
    Image.radial_gradient("L").resize((96, 96)).convert("RGB").save(style)
    Image.linear_gradient("L").resize((110, 96)).convert("RGB").save(other)
    file, out, again = tmp_path / "s.safetensors", tmp_path / "out.png", tmp_path / "again.png"
    engine = ["--model", tiny_model, "--set", "image_size=64"]
    engine += ["--set", "adapter_rank=2", "--set", "adapter_steps=3"]
    code, _, said = stylegallery("learn", "--style", style, other, "--out", file, *engine)
    assert (code, "learnt from 2 references" in said) == (0, True), said
    words = ["stylize", "--content", photo, "--style", style, "--style", other, *engine]
    words += ["--preset", "catalog"]
    code, _, said = stylegallery(*words, "--adapter", file, "--out", out)
    assert code == 0, said
    code, _, said = stylegallery(*words, "--out", again)  # learns in place
    assert code == 0, said
    with Image.open(out) as first, Image.open(again) as second:
        assert first.tobytes() == second.tobytes()
        assert '"adapters":["' in first.info["stylegallery"]
    code, _, said = stylegallery(*words, "--adapter", file, "--out", out, "--method", "styleid")
    assert (code, "belong to method `sms`" in said) == (2, True)
    code, _, said = stylegallery(*words[:-2], "--adapter", file, "--out", out)
    assert (code, "--adapter is for a method that learns" in said) == (2, True)
    code, _, said = stylegallery(*words, "--adapter", photo, "--out", out)
    assert code != 0
    assert "photo.png is damaged or no safetensors file" in said


def test_each_reference_is_learnt_by_itself_where_the_method_wants_it(
    tmp_path: Path, tiny_model: Path, stylegallery: Command
) -> None:
    photo, style, other = (tmp_path / f"{name}.png" for name in ("photo", "style", "other"))
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(photo)
    Image.radial_gradient("L").resize((96, 96)).convert("RGB").save(style)
    Image.linear_gradient("L").resize((110, 96)).convert("RGB").save(other)
    out, again = tmp_path / "out.png", tmp_path / "again.png"
    engine = ["--method", "diffstyler", "--model", tiny_model, "--set", "image_size=64"]
    for setting in ("adapter_rank=2", "adapter_steps=3", "steps=2", "inversion_steps=2"):
        engine += ["--set", setting]
    words = ["learn", "--style", style, other, "--out", tmp_path / "no.safetensors", *engine]
    code, _, said = stylegallery(*words)
    assert (code, "learns each reference by itself, but 2 are given" in said) == (
        2,
        True,
    )
    files = [tmp_path / f"{name}.safetensors" for name in ("style", "other")]
    for picture, file in zip((style, other), files, strict=True):
        assert stylegallery("learn", "--style", picture, "--out", file, *engine)[0] == 0
    words = ["stylize", "--content", photo, "--style", style, "--style", other, *engine]
    given = ["--adapter", files[0], "--adapter", files[1]]
    code, _, said = stylegallery(*words, *given, "--out", out)
    assert code == 0, said
    assert stylegallery(*words, "--out", again)[0] == 0  # learns in place
    with Image.open(out) as first, Image.open(again) as second:
        assert first.tobytes() == second.tobytes()
        made = json.loads(first.info["stylegallery"])["adapters"]
    assert len(set(made)) == 2
    code, _, said = stylegallery(*words, "--adapter", files[0], "--out", out)
    assert (code, "needs 2 learnt styles, one for each reference, not 1" in said) == (2, True)


def test_a_texture_is_learnt_from_a_reference_and_its_design(
    tmp_path: Path, tiny_model: Path, stylegallery: Command
) -> None:
    photo, style, plain, odd = (tmp_path / f"{name}.png" for name in ("p", "s", "plain", "odd"))
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(photo)
    Image.effect_noise((112, 96), 90).convert("RGB").save(style)
    Image.new("RGB", (56, 48), (128, 128, 128)).save(plain)
    Image.new("RGB", (56, 48), "red").save(odd)
    file, out = tmp_path / "s.safetensors", tmp_path / "out.png"
    engine = ["--model", tiny_model, "--method", "contrastive-lora", "--set", "image_size=64"]
    engine += ["--set", "adapter_rank=2", "--set", "adapter_steps=2"]
    words = ["learn", "--style", style, "--out", file, *engine]
    code, _, said = stylegallery(*words, "--design", plain)
    assert (code, "style blocks: down_blocks" in said) == (0, True), said
    words = ["stylize", "--content", photo, "--style", style, "--out", out, *engine]
    code, _, said = stylegallery(*words, "--adapter", file)
    assert code == 0, said
    words = ["learn", "--out", tmp_path / "no.safetensors", *engine, "--style", style]
    code, _, said = stylegallery(*words, "--design", odd)
    assert (code, f"the design of {style} has other colors" in said) == (2, True), said
    code, _, said = stylegallery(*words, photo)
    assert (code, "learns each reference by itself, but 2 are given" in said) == (2, True), said
    words = ["learn", "--out", tmp_path / "no.safetensors", "--style", style, "--method", "sms"]
    code, _, said = stylegallery(*words, "--design", plain, "--model", tiny_model)
    assert (code, "which method sms does not use" in said) == (2, True), said
    assert not (tmp_path / "no.safetensors").exists()


def test_learn_names_a_reference_without_a_style(
    tmp_path: Path, tiny_model: Path, stylegallery: Command
) -> None:
    flat, out = tmp_path / "flat.png", tmp_path / "s.safetensors"
    Image.new("RGB", (96, 96), "tan").save(flat)
    code, _, said = stylegallery("learn", "--style", flat, "--out", out, "--model", tiny_model)
    assert (code, f"{flat} is of one tone" in said) == (2, True)
    code, _, said = stylegallery("learn", "--style", flat, "--out", tmp_path / "s.bin")
    assert (code, "must end in .safetensors" in said) == (2, True)
    assert not out.exists()


@pytest.mark.parametrize("name", MODELS)
def test_schema_prints_a_json_schema(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    schema(name, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["type"] == "object"
    assert all("description" in field for field in printed["properties"].values())


@pytest.mark.parametrize("name", MODELS)
def test_schema_prints_a_table_for_people(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    schema(name)
    printed = capsys.readouterr().out
    assert not printed.lstrip().startswith("{")
    assert all(f" {field} " in printed for field in MODELS[name].model_fields)
    assert name != "params" or all(f" {setting} " in printed for setting in SETTINGS)


def test_a_table_of_settings_shows_types_bounds_and_defaults(stylegallery: Command) -> None:
    _, printed, _ = stylegallery("schema", "params")
    lines = printed.splitlines()
    steps = next(line for line in lines if line.startswith(" steps "))
    assert "integer >= 1, <= 1000" in steps
    assert " 20 " in steps
    assert "required" in stylegallery("schema", "gallery")[1]


def test_no_run_named_means_the_newest(tmp_path: Path, stylegallery: Command) -> None:
    """Newest by end time, or by start time if running; broken records do not count."""
    spec = RestyleSpec(catalog="c", galleries=["g"], output="o")
    for name, day, ended in (("run-b", 3, None), ("run-a", 1, 5), ("run-c", 4, None)):
        record = RunRecord(
            run_id=name,
            schema_version=1,
            spec=spec,
            versions={},
            engine_fingerprint="",
            counts=PlanCounts(),
            state="running",
            started_at=datetime(2026, 1, day, tzinfo=UTC),
            ended_at=datetime(2026, 1, ended, tzinfo=UTC) if ended else None,
        )
        write_record(files_of(tmp_path, name), record)
    (tmp_path / "runs" / "run-d").mkdir()
    (tmp_path / "runs" / "run-d" / "run.json").write_text("{")
    (tmp_path / "runs" / "run-a" / "plan").mkdir()
    assert find_run(str(tmp_path)) == find_run(str(tmp_path), "latest") == "run-a"
    assert find_run(str(tmp_path), "run-b") == "run-b"
    for words in ((), ("--run", "latest")):
        assert "runs/run-a/plan holds no plan" in stylegallery("status", tmp_path, *words)[2]
    code, _, said = stylegallery("verify", tmp_path, "--run", "run-x")
    assert (code, "has no run run-x; it has run-a, run-b, run-c" in said) == (2, True)
