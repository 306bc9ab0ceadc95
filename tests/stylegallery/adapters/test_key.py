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
    assert len(others | {key}) == 7
