"""The tutorial runs from top to bottom."""

import runpy
from pathlib import Path

import pytest
from PIL import Image

TUTORIAL = Path(__file__).with_name("tutorial.py")


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTORIAL_STEPS", "2")
    runpy.run_path(str(TUTORIAL))
    out = tmp_path / "demo-out/tutorial"
    for name in ("regions", "regions-with-face", "matches", "result", "protected", "sheet"):
        with Image.open(out / f"{name}.png") as image:
            image.verify()
    with Image.open(out / "result.jpg") as image:
        assert image.size == (451, 300)
