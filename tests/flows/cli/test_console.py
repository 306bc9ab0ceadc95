"""Terminal output during a run."""

import pytest

from flows.cli.console import RemainingTime, show_run_progress
from tasks.execution.progress import Progress, announce, announce_phase, listening


def test_time_left_is_the_mean_of_all_items_so_far() -> None:
    clock = iter([100.0, 160.0, 400.0])
    pace = RemainingTime(lambda: next(clock))
    told = [pace.estimate(Progress(done=done, total=10)) for done in (2, 3, 5)]
    assert told == ["", "about 7 min left", "about 8 min left"]
    assert pace.estimate(Progress(done=10, total=10)) == ""


def test_items_of_an_earlier_run_do_not_count_as_pace() -> None:
    clock = iter([0.0, 60.0])
    pace = RemainingTime(lambda: next(clock))
    assert pace.estimate(Progress(done=90, total=100)) == ""
    assert pace.estimate(Progress(done=91, total=100)) == "about 9 min left"


def test_each_phase_is_told_once_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Progress] = []
    with listening(told.append):
        announce_phase("planning")
    assert [now.phase for now in told] == ["planning"]
    with show_run_progress():
        for phase in ("planning", "starting Ray", "starting Ray", "loading the engine"):
            announce_phase(phase)  # type: ignore[arg-type]
    assert capsys.readouterr().err.splitlines() == [
        "planning",
        "starting Ray",
        "loading the engine",
    ]


def test_learnt_styles_are_told_by_number(capsys: pytest.CaptureFixture[str]) -> None:
    with show_run_progress():
        for done in (0, 1, 1, 2):
            announce(Progress(done=done, total=2, phase="learning"))
    assert capsys.readouterr().err.splitlines() == [f"learning {done} of 2" for done in range(3)]
