"""The models that the engine loads, and the device it runs on."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from schemas.base import Frozen


class LoraSpec(Frozen):
    """LoRA weights for the UNet; as text, `FILE` or `FILE=SCALE`."""

    weights: str = Field(
        min_length=1,
        title="Weights",
        description="A .safetensors file, or OWNER/REPO or OWNER/REPO/FILE.safetensors on the "
        "Hugging Face hub.",
        examples=["styles/linen.safetensors", "latent-consistency/lcm-lora-sdv1-5"],
    )
    scale: float = Field(
        1.0,
        ge=-10,
        le=10,
        allow_inf_nan=False,
        title="Scale",
        description="Strength. 1 is the trained strength.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """Parse the text of a flag or an environment variable."""
        if not isinstance(value, str):
            return value
        weights, equals, scale = value.rpartition("=")
        try:
            return {"weights": weights, "scale": float(scale)} if equals else {"weights": value}
        except ValueError:  # the sign belongs to the path, as in `kind=denim/lora.safetensors`
            return {"weights": value}


class EngineSpec(Frozen):
    """The diffusion model, its semantic encoder, optional depth and SAM models, and the device."""

    model: str = Field(
        "embedded",
        min_length=1,
        title="Model",
        description="`embedded` (ships with the package), a folder in diffusers layout, a single "
        ".safetensors file, or a Hugging Face hub id. SD 1.x, SD 2.x or SDXL.",
        examples=["embedded", "stable-diffusion-v1-5/stable-diffusion-v1-5", "/models/sd15"],
    )
    revision: str = Field(
        "",
        title="Revision",
        description="Branch, tag or commit of the hub id. Empty means the default branch.",
    )
    config_folder: str = Field(
        "",
        title="Configuration folder",
        description="For a single file: a diffusers folder of the same architecture, whose JSON "
        "and text files describe the layout. Empty uses the hub's configuration.",
    )
    loras: tuple[LoraSpec, ...] = Field(
        (),
        title="LoRAs",
        description="LoRA weights to add to the UNet: FILE or FILE=SCALE, repeatable.",
    )
    encoder: str = Field(
        "efficientnet-lite0",
        min_length=1,
        title="Semantic encoder",
        description="`efficientnet-lite0` (ships as a package) or a DINOv2 hub id or folder, such "
        "as `facebook/dinov2-base`.",
    )
    depth: str = Field(
        "",
        title="Depth model",
        description="Hub id or folder of a transformers depth-estimation model. Regions are then "
        "split by depth. Empty disables it.",
        examples=["depth-anything/Depth-Anything-V2-Small-hf"],
    )
    sam: str = Field(
        "",
        title="SAM",
        description="Hub id or folder of a SAM model. Regions are then built from its segments. "
        "Empty disables it.",
        examples=["facebook/sam-vit-base"],
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", title="Device", description="`auto` uses a GPU if there is one."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="Number type of the UNet. `auto` is float16 on a GPU, bfloat16 on a CPU with "
        "native bfloat16, else float32.",
    )

    @model_validator(mode="after")
    def _layout_only_for_a_file(self) -> Self:
        if self.config_folder and not self.model.endswith(".safetensors"):
            raise ValueError(
                "config_folder says the layout of a single .safetensors file; leave it out for "
                f"model {self.model!r}, which brings its own."
            )
        return self
