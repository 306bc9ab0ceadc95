"""Style parameters of the method `contrastive-lora`."""

from pydantic import Field

from schemas.methods import Method
from schemas.param_groups import ParamGroup


class ContrastiveParams(ParamGroup, title="Contrastive learning"):
    """How the method `contrastive-lora` learns the texture of a reference."""

    style_blocks: str = Field(
        "",
        max_length=2000,
        title="Style blocks",
        description="For `contrastive-lora`: the transformer blocks of the UNet that learn the "
        "texture, such as `up_blocks.1.attentions.0`, with commas between them. Empty chooses "
        "those that differ most between a reference and its design; for SDXL the published four.",
    )
    contrast_weight: float = Field(
        1e-4,
        ge=0,
        le=1,
        title="Contrast weight",
        description="For `contrastive-lora`: weight of the contrast in the second stage of "
        "learning. 0 skips that stage.",
    )


def check_contrastive(method: Method, contrastive: ContrastiveParams) -> None:
    """Refuse settings of `contrastive-lora` that would not be used.

    Raises:
        ValueError: the settings do not go together.
    """
    if method != "contrastive-lora" and contrastive != ContrastiveParams():
        raise ValueError(
            "style_blocks and contrast_weight belong to method `contrastive-lora`; leave them out "
            f"for method {method}, or set method to contrastive-lora."
        )
