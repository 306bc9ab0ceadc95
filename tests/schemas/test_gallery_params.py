"""Parameters of a gallery with a method or preset of its own."""

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from schemas.gallery_params import gallery_params
from schemas.methods import Method
from schemas.params import StyleParams
from schemas.presets import PRESETS, preset_params


@pytest.mark.parametrize("method", get_args(Method))
def test_a_gallerys_method_brings_its_own_defaults(method: Method) -> None:
    assert gallery_params(StyleParams(), method, None) == StyleParams(method=method)
    changed = gallery_params(StyleParams(detail=0.9, strength=0.3), method, None)
    assert changed == StyleParams(method=method, detail=0.9, strength=0.3)


@pytest.mark.parametrize(
    "run",
    [
        StyleParams(),
        StyleParams(method="styleid", steps=9),
        preset_params("catalog", adapter_rank=4),
        preset_params("fast"),
    ],
)
def test_the_runs_own_method_changes_nothing(run: StyleParams) -> None:
    """So items keep their ids."""
    assert gallery_params(run, None, None) == run
    assert gallery_params(run, run.method, None) == run
    assert gallery_params(run, run.method, None).hashed() == run.hashed()


@pytest.mark.parametrize(
    ("run", "method", "expected"),
    [
        (preset_params("catalog"), "stylegallery", {}),
        (preset_params("fast"), "styleid", {"steps": 28, "content_weight": 0.33}),
        ({"method": "sms", "style_prompt": "silk", "prompt": "red"}, "styleid", {"prompt": "red"}),
        ({"method": "attention-distillation", "sampler": "guided"}, "sms", {}),
    ],
)
def test_settings_of_the_runs_method_alone_are_left_out(
    run: StyleParams | dict[str, Any], method: Method, expected: dict[str, Any]
) -> None:
    params = run if isinstance(run, StyleParams) else StyleParams(**run)
    made = gallery_params(params, method, None)
    learning_rate = {"learning_rate": 0.25} if params == preset_params("fast") else {}
    assert made == StyleParams(method=method, **expected, **learning_rate)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_gallerys_preset_stands_for_the_runs(preset: Any) -> None:
    for other in PRESETS:
        run = preset_params(other, detail=0.9)
        if run.method == preset_params(preset).method or preset == "catalog":
            assert gallery_params(run, None, preset) == preset_params(preset, detail=0.9)


def test_settings_that_do_not_go_together_are_refused() -> None:
    run = StyleParams(prompt="red", guidance=3)
    with pytest.raises(ValidationError, match="set sampler to guided"):
        gallery_params(run, "attention-distillation", None)
    with pytest.raises(ValidationError, match="belong to method `sms`"):
        gallery_params(StyleParams(), "styleid", "catalog")
