"""Style parameters of the method `sms`."""

from typing import Literal

from pydantic import Field

from schemas.methods import Method
from schemas.param_groups import ParamGroup

Relevance = Literal["adapter", "none"]


class SmsParams(ParamGroup, title="Score matching"):
    """How the method `sms` uses a learnt style."""

    passes: Literal[0, 1, 2, 4, 16] = Field(
        0,
        title="Passes",
        description="For `sms`: UNet passes of an item. 1, 2 and 4 add noise to the photo and "
        "denoise it with the learnt style. 16 inverts the photo in the first half and denoises it "
        "in the second. 0 optimizes the latent by `steps` steps of score matching.",
    )
    spectrum_weight: float = Field(
        5e-4,
        ge=0,
        le=1,
        title="Spectrum weight",
        description="For `sms` with passes 0: weight of the difference to the photo in low "
        "frequencies. Higher values keep more of the photo's forms.",
    )
    relevance: Relevance = Field(
        "adapter",
        title="Relevance",
        description="For `sms` with passes 0: `adapter` changes a cell as far as the learnt style "
        "changes the model's prediction there, `none` changes all cells alike.",
    )
    fake_rank: int = Field(
        0,
        ge=0,
        le=32,
        title="Fake rank",
        description="For `sms` with passes 0: rank of a second adapter that learns the result "
        "while it changes, 8 as published. It doubles the time. 0 uses the plain model instead.",
    )


def check_passes(method: Method, sms: SmsParams) -> None:
    """Refuse settings of `sms` that would not be used.

    Raises:
        ValueError: the settings do not go together.
    """
    if method != "sms" and sms != SmsParams():
        raise ValueError(
            "passes, spectrum_weight, relevance and fake_rank belong to method `sms`; leave them "
            f"out for method {method}, or set method to sms."
        )
    if sms.passes and sms != SmsParams(passes=sms.passes):
        raise ValueError(
            "spectrum_weight, relevance and fake_rank belong to passes 0, which optimizes; leave "
            f"them out for passes {sms.passes}."
        )
