"""Style parameters of the method `diffstyler`."""

from typing import Literal

from pydantic import Field

from schemas.methods import Method
from schemas.param_groups import ParamGroup

Blend = Literal["regions", "even", "in-turn"]


class DiffStylerParams(ParamGroup, title="Style fusion"):
    """How the method `diffstyler` keeps the photo's forms and joins several learnt styles."""

    inject_features: float = Field(
        0.6,
        ge=0,
        le=1,
        title="Injected features",
        description="For `diffstyler`: share of the steps, from the first, that take the features "
        "of the decoder's residual block from the photo. More keeps more of its layout.",
    )
    inject_attention: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Injected attention",
        description="For `diffstyler`: share of the steps, from the first, that take queries and "
        "keys of the decoder's self-attentions from the photo. More keeps more of its forms.",
    )
    blend: Blend = Field(
        "regions",
        title="Blend",
        description="For `diffstyler`: how references share the picture. `regions`: each region "
        "has the style of its best match's reference. `even`: each region blends all references, "
        "by their shares in its matches. `in-turn`: they lead one after the other, each for its "
        "share of the steps, and the largest share last, which gives the strokes.",
    )


def check_fusion(method: Method, fusion: DiffStylerParams) -> None:
    """Refuse settings of `diffstyler` that would not be used.

    Raises:
        ValueError: the settings do not go together.
    """
    if method != "diffstyler" and fusion != DiffStylerParams():
        raise ValueError(
            "inject_features, inject_attention and blend belong to method `diffstyler`; leave "
            f"them out for method {method}, or set method to diffstyler."
        )
