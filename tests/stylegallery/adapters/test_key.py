"""The key of a learnt style."""

from schemas.params import StyleParams
from stylegallery.adapters.key import adapter_key


def settings(**chosen: object) -> StyleParams:
    return StyleParams.model_validate({"method": "sms", "image_size": 64, "adapter": chosen})


def test_the_key_holds_what_learning_depends_on() -> None:
    key = adapter_key("model", [("v1", 1.0)], settings())
    assert key == adapter_key("model", [("v1", 1.0)], settings(adapter_scale=2.0))
    others = {
        adapter_key("other", [("v1", 1.0)], settings()),
        adapter_key("model", [("v2", 1.0)], settings()),
        adapter_key("model", [("v1", 2.0)], settings()),
        adapter_key("model", [("v1", 1.0)], settings(adapter_steps=4)),
        adapter_key("model", [("v1", 1.0)], StyleParams(image_size=128)),
        adapter_key("model", [("v1", 1.0)], settings(), seed=1),
    }
    words = {"method": "sms", "image_size": 64, "prompt": "red", "style_prompt": "silk"}
    others.add(adapter_key("model", [("v1", 1.0)], StyleParams.model_validate(words)))
    assert len(others | {key}) == 8
    assert key == adapter_key("model", [("v1", 1.0)], settings().model_copy(update={"prompt": "x"}))
    contrast = {"method": "contrastive-lora", "image_size": 64}
    keys = {
        adapter_key("model", [("v1", 1.0)], StyleParams.model_validate({**contrast, **changes}))
        for changes in ({}, {"contrast_weight": 0.0}, {"style_blocks": "mid_block"}, {"steps": 7})
    }
    assert len(keys) == 3  # sampling is no part of it
