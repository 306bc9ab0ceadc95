"""When a learnt style counts as too far behind."""

import pytest

from schemas.params import StyleParams
from schemas.run import RestyleSpec
from schemas.students import StudentRow, compare_students

GOOD = {"gram_ratio": 0.7, "ssim": 0.6, "edge_agreement": 0.7, "hfrd": 0.05}


def row(gallery: str = "g", **student: float) -> StudentRow:
    values = {f"teacher_{name}": value for name, value in GOOD.items()}
    values |= {f"student_{name}": value for name, value in {**GOOD, **student}.items()}
    return StudentRow.model_validate(
        {"gallery_id": gallery, "product_id": "p", "view": "main", **values}
    )


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({}, ()),
        ({"gram_ratio": 0.5, "hfrd": 0.0, "ssim": 0.1}, ()),
        ({"gram_ratio": 0.77, "hfrd": 0.09, "edge_agreement": 0.41}, ()),
        ({"gram_ratio": 0.79}, ("gram_ratio 0.79 against 0.70",)),
        ({"hfrd": 0.11}, ("hfrd 0.11 against 0.05",)),
        ({"edge_agreement": 0.39}, ("edge_agreement 0.39, less than 0.4",)),
    ],
)
def test_a_style_is_behind_beyond_the_bounds(
    student: dict[str, float], said: tuple[str, ...]
) -> None:
    (found,) = compare_students([row(**student)])
    assert found.shortcomings == said


def test_means_decide_and_each_gallery_stands_alone() -> None:
    rows = [row(gram_ratio=0.6), row("h", gram_ratio=0.9), row(gram_ratio=0.9)]
    first, second = compare_students(rows)
    assert (first.gallery_id, first.photos, first.shortcomings) == ("g", 2, ())
    assert first.student["gram_ratio"] == pytest.approx(0.75)
    assert first.teacher == pytest.approx(GOOD)
    assert second.warning() == (
        "the learnt style of gallery 'h' is behind method stylegallery on 1 photo (gram_ratio 0.90 "
        "against 0.70); raise adapter_steps or passes, or use another method for it"
    )


@pytest.mark.parametrize(
    ("method", "check", "checks"),
    [("sms", "warn", True), ("sms", "off", False), ("stylegallery", "strict", False)],
)
def test_only_methods_that_learn_are_checked(method: str, check: str, checks: bool) -> None:
    params = StyleParams.model_validate({"method": method})
    places = {"catalog": "c", "galleries": ["g"], "output": "o"}
    spec = RestyleSpec.model_validate({**places, "params": params, "student_check": check})
    assert spec.checks_students == checks
