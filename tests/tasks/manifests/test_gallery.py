"""The method and preset of a gallery, from its rows."""

from pathlib import Path

import pytest

from schemas.params import StyleParams
from tasks.errors import ManifestError
from tasks.manifests.gallery import check_settings
from tasks.manifests.reader import Galleries, read_galleries
from tests.tasks import pictures


def galleries(folder: Path, text: str) -> Galleries:
    """Read galleries whose CSV has a line `gallery,style,method,preset` for each reference."""
    (folder / "s.png").write_bytes(pictures.encoded(pictures.noise(), "PNG"))
    lines = ["gallery_id,style_id,method,preset,image_uri"]
    lines += [f"{line.strip()},s.png" for line in text.strip().splitlines()]
    (folder / "galleries.csv").write_text("\n".join(lines))
    return read_galleries([str(folder / "galleries.csv")])


def test_one_row_names_the_settings_of_all(tmp_path: Path) -> None:
    found = galleries(tmp_path, "a,z,,\na,y,sms,catalog\na,x,,\nb,x,,")
    assert [(row.style_id, row.method, row.preset) for row in found["a"].rows] == [
        ("x", "sms", "catalog"),
        ("y", "sms", "catalog"),
        ("z", "sms", "catalog"),
    ]
    assert [(row.method, row.preset) for row in found["b"].rows] == [(None, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,x,sms,\na,y,styleid,\nb,x,,",
            "column `method`, row 2: is 'styleid', but 'sms' in row 1 of the same gallery; use one "
            "method for all rows of a gallery",
        ),
        (
            "a,x,,\na,y,oil,\nb,x,,",
            "column `method`, row 2: 'oil' does not exist; use 'stylegallery', ",
        ),
        ("a,x,,slow\nb,x,,", "column `preset`, row 1: 'slow' does not exist; use 'quality', "),
    ],
)
def test_settings_that_do_not_exist_or_differ_refuse_the_gallery(
    tmp_path: Path, text: str, message: str
) -> None:
    found = galleries(tmp_path, text)
    assert message in str(found["a"].problem)
    assert found["b"].problem is None


def test_settings_that_do_not_go_with_the_runs_refuse_the_gallery(tmp_path: Path) -> None:
    found = galleries(tmp_path, "a,x,styleid,catalog\nb,x,,")
    check_settings(found.values(), StyleParams())
    assert "row 1: 'styleid' does not go with the other settings: passes" in str(found["a"].problem)
    assert not found["a"].rows
    assert found["b"].problem is None
    with pytest.raises(ManifestError, match="does not go with"):
        check_settings(
            galleries(tmp_path, "a,x,styleid,catalog").values(), StyleParams(), strict=True
        )
