"""Rules of the project that no linter checks; each assertion says how to fix a violation."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("flows", "tasks", "stylegallery", "schemas")
MAX_LINES = 400

TOP_LEVEL = {
    *PACKAGES,
    "deploy",
    "tests",
    "pyproject.toml",
    "requirements.lock",
    "requirements-benchmarks.lock",
    "Makefile",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    ".ci",
    ".dockerignore",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
}

# Written as patterns, so that this file does not break its own rule.
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(?:work|root|opt/wheels|opt/pypi)/")
PACKAGE_INDEX = re.compile(
    r"(?:index-url|find-links|trusted-host)[ =]+\S*[a-z]+://|pypi\.\S+/simple"
)


def modules(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tracked() -> tuple[str, ...]:
    """Return the files that git tracks, and new files that it does not ignore."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(name for name in listed.split("\0") if name and (ROOT / name).is_file())


@cache
def tracked_text() -> dict[str, str]:
    texts = {}
    for name in tracked():
        try:
            texts[name] = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return texts


@cache
def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


# --- Packages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_there_and_typed(package: str) -> None:
    for needed in ("__init__.py", "py.typed"):
        assert (ROOT / package / needed).is_file(), (
            f"{package}/{needed} is missing: without it the package is not importable or its "
            "annotations are invisible to those who install it"
        )


def test_folders_with_modules_are_packages() -> None:
    bare = {
        name_of(path.parent)
        for path in modules(*PACKAGES)
        if not (path.parent / "__init__.py").is_file()
    }
    assert not bare, (
        f"no __init__.py in {sorted(bare)}: import-linter does not look into such folders, and "
        "mypy takes a folder of weights for the module of the same name beside it"
    )


def test_modules_stay_short() -> None:
    long = {
        name_of(path): lines
        for path in modules(*PACKAGES)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert not long, (
        f"over {MAX_LINES} lines: {long}. A module holds one idea: move the second one out"
    )


def test_modules_say_what_they_are() -> None:
    silent = [
        name_of(path)
        for path in modules(*PACKAGES)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, (
        f"no module docstring: {silent}. Begin with one sentence: what this module is"
    )


def test_no_two_classes_have_one_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in modules(*PACKAGES):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name_of(path))
    doubled = {name: places for name, places in homes.items() if len(places) > 1}
    assert not doubled, f"one name, two classes: {doubled}. Name each by what it is"


def test_flows_do_not_postpone_annotations() -> None:
    postponing = [
        name_of(path)
        for path in modules("flows")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if any(alias.name == "annotations" for alias in node.names)
    ]
    assert not postponing, (
        f"`from __future__ import annotations` in {postponing}: with it, a served flow's pydantic "
        "parameters are strings that Prefect cannot resolve, and the run fails. Remove the line "
        "and quote single annotations where one has to wait"
    )


def test_flows_shadow_no_package() -> None:
    banned = {"tasks", "schemas", "stylegallery", "ray", "prefect"}
    shadows = [
        name_of(path)
        for path in (ROOT / "flows").rglob("*")
        if path.stem in banned and (path.suffix == ".py" or path.is_dir())
    ]
    assert not shadows, (
        f"{shadows}: when Prefect loads a flow by file path, flows/ comes first on sys.path and "
        "this would stand in for the package of that name. Rename it"
    )


def test_libraries_do_not_print() -> None:
    exempt = {"stylegallery/training/train.py"}  # a command line of its own
    printing = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules("schemas", "stylegallery", "tasks")
        if name_of(path) not in exempt
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing, f"print() at {printing}: log it, return it, or let flows/ show it"


# --- The checkout ------------------------------------------------------------------------------


def test_top_level_holds_only_what_was_agreed() -> None:
    extra = {name.split("/", 1)[0] for name in tracked()} - TOP_LEVEL
    assert not extra, (
        f"new at the top level: {sorted(extra)}. Move it into a package (benchmarks: "
        "tests/benchmarks/), or git-ignore it if a run left it behind"
    )


def test_no_path_of_one_machine() -> None:
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in tracked_text().items()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) and name != name_of(Path(__file__))
    ]
    assert not found, "a path that exists on one machine only; make it relative:\n" + "\n".join(
        found
    )


def test_no_package_index_is_named() -> None:
    found = [
        name
        for name, text in tracked_text().items()
        if PACKAGE_INDEX.search(text) and name != name_of(Path(__file__))
    ]
    assert not found, f"{found} name a package index: where packages come from is the user's pip"


# --- Versions ----------------------------------------------------------------------------------


def pins(lock: str) -> dict[str, str]:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    loose = [line for line in wanted if not re.fullmatch(r"[a-z0-9.-]+==[0-9][\w.!]*", line)]
    assert not loose, f"{lock} takes `name==version` lines without local tags: {loose}"
    return dict(line.split("==") for line in wanted)


def test_locks_pin_every_declared_dependency() -> None:
    extras = dict(project()["optional-dependencies"])
    declared = {"requirements-benchmarks.lock": extras.pop("benchmarks")}
    declared["requirements.lock"] = sum(extras.values(), list(project()["dependencies"]))
    for lock, requirements in declared.items():
        pinned = pins(lock)
        for requirement in map(Requirement, requirements):
            version = pinned.get(canonicalize_name(requirement.name))
            assert version is not None, (
                f"{requirement} is declared in pyproject.toml but not pinned in {lock}"
            )
            assert requirement.specifier.contains(version, prereleases=True), (
                f"{lock} pins {requirement.name} {version}, pyproject asks {requirement}"
            )


def test_the_locks_share_no_package() -> None:
    assert not pins("requirements.lock").keys() & pins("requirements-benchmarks.lock").keys()


# --- The wheel ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the wheel does not build:\n{done.stdout}\n{done.stderr}"
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built)


def test_wheel_holds_every_source_file(wheel: zipfile.ZipFile) -> None:
    """These are modules, py.typed, the weights of the embedded model and the report's templates."""
    rooms = tuple(f"{package}/" for package in PACKAGES)
    missing = {name for name in tracked() if name.startswith(rooms)} - set(wheel.namelist())
    assert not missing, (
        f"in the checkout but not in the wheel: {sorted(missing)}. Look at .gitignore (hatchling "
        "obeys it) and at [tool.hatch.build.targets.wheel]"
    )


def test_wheel_holds_what_the_product_needs_at_run_time(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in PACKAGES:
        for needed in (f"{package}/__init__.py", f"{package}/py.typed"):
            assert needed in names, f"the wheel has no {needed}"
    for pattern in ("stylegallery/embedded/**/*.safetensors", "tasks/report/templates/**/*"):
        for path in ROOT.glob(pattern):
            if path.is_file():
                assert name_of(path) in names, (
                    f"{name_of(path)} is on disk but not in the wheel: is it git-ignored?"
                )


def test_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/", 1)[0] for name in wheel.namelist()}
    extra = {top for top in tops if not top.endswith(".dist-info")} - set(PACKAGES)
    assert not extra, f"the wheel would put {sorted(extra)} into everybody's site-packages"


def test_wheel_installs_the_command_and_the_license(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    (entry_points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
    assert "stylegallery = flows.cli.app:main" in wheel.read(entry_points).decode(), (
        "the console script is gone from [project.scripts]"
    )
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names), (
        "the wheel has no license text"
    )


# --- How it runs -------------------------------------------------------------------------------


def test_ci_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111, ".ci/run is not executable: chmod +x .ci/run"
    for target in ("install", "check", "test"):
        assert f"make {target}" in script.read_text(encoding="utf-8"), (
            f".ci/run does not call `make {target}`: CI and people run the same targets"
        )
