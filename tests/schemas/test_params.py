"""Style parameters are in groups, and each can be given without its group."""

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.adapter import AdapterParams
from schemas.contrastive import ContrastiveParams
from schemas.diffstyler import DiffStylerParams
from schemas.engine import EngineSpec
from schemas.methods import METHODS
from schemas.param_groups import ToneParams
from schemas.params import (
    GROUP_OF,
    GROUP_OF_METHOD,
    GROUPS,
    LATER,
    RETIRED,
    SETTINGS,
    StyleParams,
)
from schemas.prompts import PromptParams
from schemas.run import PoolSpec, RestyleSpec
from schemas.sms import SmsParams

LEARNING = AdapterParams.model_fields.keys() | SmsParams.model_fields.keys()


def test_every_name_is_unique() -> None:
    """A setting without its group or section must be one setting."""
    names = [name for model in GROUPS.values() for name in model.model_fields]
    names += StyleParams.model_fields
    names += [*EngineSpec.model_fields, *PoolSpec.model_fields, *RestyleSpec.model_fields, *RETIRED]
    assert len(names) == len(set(names))
    assert set(SETTINGS) == set(GROUP_OF) | (set(StyleParams.model_fields) - set(GROUPS))
    for info in METHODS.values():
        assert info.defaults.keys() <= SETTINGS.keys()


@pytest.mark.parametrize(
    "given",
    [
        {"match_tone": False, "color": "keep-chroma"},
        {"tones": {"match_tone": False, "color": "keep-chroma"}},
        {"tones": {"match_tone": False}, "color": "keep-chroma"},
        {"tones": ToneParams(match_tone=False), "color": "keep-chroma"},
    ],
)
def test_a_setting_is_given_with_or_without_its_group(given: dict[str, Any]) -> None:
    kept = {name: dict(value) if name == "tones" else value for name, value in given.items()}
    for method in METHODS:
        plain = StyleParams(method=method).flat()
        params = StyleParams(method=method, **given)
        assert params.flat() == {**plain, "match_tone": False, "color": "keep-chroma"}
        off = {GROUP_OF[name] for name, value in LATER.items() if params.flat()[name] == value}
        left_out = {name for name, group in GROUP_OF.items() if group in off}
        left_out |= set() if METHODS[method].learns else set(AdapterParams.model_fields)
        for other in GROUP_OF_METHOD.keys() - {method}:
            left_out |= GROUP_OF_METHOD[other].model_fields.keys()
        left_out |= PromptParams.model_fields.keys()
        taken = {name: value for name, value in params.flat().items() if name not in left_out}
        assert params.hashed() == {**taken, **RETIRED}
        for again in (params.model_dump(), params.flat(), params.hashed()):
            assert StyleParams.model_validate(again) == params
    short = StyleParams(**given).model_dump(exclude_unset=True)
    assert short == {"tones": {"match_tone": False, "color": "keep-chroma"}}
    assert {n: dict(v) if n == "tones" else v for n, v in given.items()} == kept


@pytest.mark.parametrize("group", [{"match_tone": True}, ToneParams(match_tone=True)])
def test_a_setting_given_twice_is_refused(group: object) -> None:
    with pytest.raises(ValidationError) as error:
        StyleParams(match_tone=False, tones=group)
    (found,) = error.value.errors()
    assert found["msg"].endswith(
        "`match_tone` is given twice, by itself and in `tones`; remove one of them."
    )


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"tone_lightness": 7}, ("tones", "tone_lightness")),
        ({"semantic_weight": float("inf")}, ("matching", "semantic_weight")),
        ({"tones": {"match_ton": True}}, ("tones", "match_ton")),
        ({"tones": 3, "match_tone": False}, ("tones",)),
        ({"match_ton": False}, ("match_ton",)),
    ],
)
def test_an_error_names_the_setting(given: dict[str, Any], where: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as error:
        StyleParams(**given)
    assert [found["loc"] for found in error.value.errors()] == [where]


def test_a_copy_takes_settings_without_their_group() -> None:
    params = StyleParams(tone_lightness=0.25)
    changes = {"match_tone": False, "color": "keep-chroma", "steps": 3}
    copy = params.model_copy(update=changes)
    assert copy.flat() == {**params.flat(), **changes}
    assert copy == StyleParams(tone_lightness=0.25, **changes)
    assert params.tones.match_tone
    assert params.model_copy() == params


def test_settings_of_learning_are_hashed_where_the_method_learns() -> None:
    plain = StyleParams()
    assert not LEARNING & plain.hashed().keys()
    assert StyleParams(adapter_rank=4).hashed() == plain.hashed()
    learns = StyleParams(method="sms")
    assert learns.hashed().keys() >= LEARNING
    assert StyleParams(method="sms", adapter_rank=4).hashed() != learns.hashed()
    assert StyleParams(method="sms", passes=4).hashed() != learns.hashed()
    contrast = StyleParams(method="contrastive-lora")
    assert contrast.hashed().keys() >= ContrastiveParams.model_fields.keys()
    assert not SmsParams.model_fields.keys() & contrast.hashed().keys()
    other = StyleParams(method="contrastive-lora", style_blocks="mid_block.attentions.0")
    assert other.hashed() != contrast.hashed()


def test_settings_of_a_method_are_hashed_with_that_method_alone() -> None:
    fusion = DiffStylerParams.model_fields.keys()
    plain = StyleParams(method="diffstyler")
    assert plain.hashed().keys() >= fusion | AdapterParams.model_fields.keys()
    assert not SmsParams.model_fields.keys() & plain.hashed().keys()
    assert StyleParams(method="diffstyler", blend="even").hashed() != plain.hashed()
    for method in METHODS.keys() - {"diffstyler"}:
        assert not fusion & StyleParams(method=method).hashed().keys()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"passes": 2}, "belong to method `sms`"),
        ({"method": "styleid", "fake_rank": 8}, "leave them out for method styleid"),
        ({"method": "sms", "passes": 2, "spectrum_weight": 0.1}, "leave them out for passes 2"),
        ({"method": "sms", "passes": 3}, "Input should be 0, 1, 2, 4 or 16"),
        ({"blend": "even"}, "belong to method `diffstyler`"),
        ({"method": "sms", "inject_features": 0.1}, "leave them out for method sms"),
        ({"method": "diffstyler", "passes": 2}, "leave them out for method diffstyler"),
        ({"method": "diffstyler", "schedule": "lcm"}, "leave them out for method diffstyler"),
        (
            {"method": "diffstyler", "blend": "odd"},
            "Input should be 'regions', 'even'",
        ),
        ({"method": "diffstyler", "inject_attention": 1.5}, "less than or equal to 1"),
        ({"contrast_weight": 0.0}, "belong to method `contrastive-lora`"),
        ({"method": "sms", "style_blocks": "mid_block"}, "leave them out for method sms"),
    ],
)
def test_settings_that_have_no_effect_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        StyleParams(**given)


def test_text_is_hashed_where_there_is_any() -> None:
    plain = StyleParams()
    assert not PromptParams.model_fields.keys() & plain.hashed().keys()
    assert StyleParams(prompt="  ").hashed() == plain.hashed()
    words = [{"prompt": "red"}, {"prompt": "wool"}, {"prompt": "red", "guidance": 2}]
    made = [StyleParams(**given) for given in words]
    assert len({str(params.hashed()) for params in [plain, *made]}) == 4
    for params in made:
        assert StyleParams.model_validate(params.hashed()) == params


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"negative_prompt": "blur"}, "no effect with guidance 1; raise guidance"),
        ({"guidance": 3}, "guidance has no effect without text; set prompt"),
        ({"style_prompt": "silk"}, "belongs to methods that learn; leave it out for method style"),
        ({"sampler": "optimise", "prompt": "red", "guidance": 3}, "set sampler to guided"),
        ({"prompt": "red", "guidance": 0.5}, "greater than or equal to 1"),
        ({"prompt": "red " * 300}, "at most 1000 characters"),
    ],
)
def test_text_that_has_no_effect_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        StyleParams(**given)


def test_guidance_serves_samplers_that_predict() -> None:
    for given in ({"method": "styleid"}, {"method": "sms", "style_prompt": "silk"}, {}):
        StyleParams(prompt="red", guidance=3, negative_prompt="blur", **given)
