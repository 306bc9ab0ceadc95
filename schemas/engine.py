"""Which model the engine loads, and where it runs."""

from typing import Literal

from pydantic import Field

from schemas.base import Frozen


class EngineSpec(Frozen):
    """The diffusion model, the semantic encoder, and the device they run on."""

    model: str = Field(
        "embedded",
        min_length=1,
        title="Model",
        description="`embedded` (ships with the package), a folder in diffusers layout, or a "
        "Hugging Face hub id.",
        examples=["embedded", "stable-diffusion-v1-5/stable-diffusion-v1-5", "/models/sd15"],
    )
    revision: str = Field(
        "",
        title="Revision",
        description="Branch, tag or commit of a hub id; empty means its default.",
    )
    encoder: str = Field(
        "efficientnet-lite0",
        min_length=1,
        title="Semantic encoder",
        description="`efficientnet-lite0` (weights ship in a package) or a DINOv2 hub id or "
        "folder, such as `facebook/dinov2-base`.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", title="Device", description="`auto` takes a GPU when one is there."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="Number type of the UNet; `auto` is float16 on a GPU, bfloat16 on a CPU "
        "that multiplies in it, else float32.",
    )
