"""Style parameters of learning: how an adapter is learnt from the references, and applied."""

from typing import Literal

from pydantic import Field

from schemas.param_groups import ParamGroup

AdapterLayers = Literal["auto", "attention", "all"]


class AdapterParams(ParamGroup, title="Learning"):
    """How the style of the references is learnt, for methods that learn; 0 is by the model."""

    adapter_rank: int = Field(
        0,
        ge=0,
        le=128,
        title="Adapter rank",
        description="For methods that learn: rank of the low-rank change of each layer. 0 is 16, "
        "or 32 for SDXL.",
    )
    adapter_layers: AdapterLayers = Field(
        "auto",
        title="Adapter layers",
        description="For methods that learn: the layers that change. `attention` are the "
        "projections of the attentions; `all` are those, feed-forward layers and convolutions. "
        "`auto` is `all` for a model without text, such as the embedded one, else `attention`.",
    )
    adapter_steps: int = Field(
        0,
        ge=0,
        le=5000,
        title="Adapter steps",
        description="For methods that learn: training steps. 0 is 100 for a model without text, "
        "400 for SDXL, else 200.",
    )
    adapter_rate: float = Field(
        0.0,
        ge=0,
        le=0.1,
        title="Adapter rate",
        description="For methods that learn: learning rate. 0 is 0.002 for a model without text, "
        "0.0001 for SDXL, else 0.0002.",
    )
    adapter_scale: float = Field(
        1.0,
        ge=0,
        le=4,
        title="Adapter scale",
        description="For methods that learn: strength of the learnt style. 0 is the model without "
        "it.",
    )
