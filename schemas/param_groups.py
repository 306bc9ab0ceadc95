"""The groups of :class:`schemas.params.StyleParams`: settings that serve one part of the engine.

A name of a setting is unique across all groups, so that it can be given without its group.
"""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from schemas.base import Frozen
from schemas.methods import Schedule

Routing = Literal["soft", "hard"]
Fallback = Literal["global", "content"]
WhiteGround = Literal["keep", "restyle"]
Color = Literal["full", "keep-chroma", "match-histogram"]


def _described_by_field(schema: dict[str, Any]) -> None:
    """Remove title and description: pydantic omits them from the field where both are the same.

    A form may not look for them behind the field's reference.
    """
    del schema["title"], schema["description"]


class ParamGroup(Frozen):
    """A group of style parameters. Its title and docstring are shown above its settings."""

    model_config = ConfigDict(allow_inf_nan=False, json_schema_extra=_described_by_field)


class OptimiseParams(ParamGroup, title="Optimization"):
    """The timesteps of sampler `optimise`, and how it ends."""

    schedule: Schedule = Field(
        "ddim",
        title="Schedule",
        description="For sampler `optimise`: the timesteps to visit. Use `lcm` and `hyper` with "
        "LCM and Hyper-SD LoRAs.",
    )
    repeats: int = Field(
        1, ge=1, le=100, title="Repeats", description="Optimization steps per timestep."
    )
    settle_timestep: int = Field(
        60,
        ge=0,
        le=900,
        title="Settle timestep",
        description="For sampler `optimise`: at the end, suppress unnatural latent components, "
        "per band, then by one denoising step from this timestep. 0 disables both.",
    )


class AttentionParams(ParamGroup, title="Attention"):
    """How attention is scaled, and how often its features are computed."""

    attention_scale: float = Field(
        1.0,
        gt=0,
        le=10,
        title="Attention scale",
        description="Factor on the attention queries. Higher values sharpen attention.",
    )
    anchors: int = Field(
        8,
        ge=0,
        le=1000,
        title="Anchors",
        description="Number of timesteps at which attention features of photo and references are "
        "computed; each step uses the nearest. Fewer are faster and need less memory. 0 computes "
        "them at every step.",
    )
    query_preservation: float = Field(
        0.75,
        ge=0,
        le=1,
        title="Query preservation",
        description="For `styleid`: fraction of the photo's own queries in attention. Lower "
        "values give more style and less structure.",
    )


class RegionParams(ParamGroup, title="Regions"):
    """How an image is divided into regions."""

    inversion_steps: int = Field(
        15,
        ge=2,
        le=100,
        title="Inversion steps",
        description="DDIM inversion steps for the region features.",
    )
    max_regions: int = Field(
        10,
        ge=2,
        le=32,
        title="Maximum regions",
        description="Largest number of clusters to try. The silhouette score selects the number "
        "of regions.",
    )
    merge_threshold: float = Field(
        0.4,
        ge=0,
        title="Merge threshold",
        description="Merge regions whose mean latents are closer than this.",
    )
    min_region_fraction: float = Field(
        0.005,
        ge=0,
        le=0.5,
        title="Minimum region size",
        description="Merge connected areas smaller than this fraction of the image into their "
        "surroundings.",
    )


class MatchingParams(ParamGroup, title="Matching"):
    """How photo regions find their reference regions."""

    semantic_weight: float = Field(
        1.0, ge=0, title="Semantic weight", description="Weight of semantic similarity in matching."
    )
    statistical_weight: float = Field(
        0.25,
        ge=0,
        title="Statistical weight",
        description="Weight of the similarity of UNet feature statistics in matching.",
    )
    geometric_weight: float = Field(
        0.125,
        ge=0,
        title="Geometric weight",
        description="Weight of the overlap of region circles (position and size) in matching.",
    )
    ground_weight: float = Field(
        0.5,
        ge=0,
        title="Ground weight",
        description="Matching penalty for pairing a region that touches the image border with one "
        "that does not.",
    )
    min_similarity: float = Field(
        -1.0,
        ge=-10,
        le=10,
        title="Minimum similarity",
        description="A region whose best match scores below this uses the fallback.",
    )
    fallback: Fallback = Field(
        "global",
        title="Fallback",
        description="What a region without a good match uses: `global` attends to the whole "
        "gallery, `content` keeps the photo.",
    )


class RegionalAttentionParams(ParamGroup, title="Regional attention"):
    """How strongly attention prefers matched regions."""

    routing: Routing = Field(
        "soft",
        title="Routing",
        description="`soft` biases attention towards matched regions and uses every part of each "
        "reference. `hard` limits each region to its best match.",
    )
    routing_strength: float = Field(
        1.0,
        ge=0,
        le=100,
        title="Routing strength",
        description="How strongly soft routing prefers matched regions. 0 ignores regions.",
    )
    routing_share: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Routing share",
        description="Fraction of the steps, from noisy to clean, in which soft routing prefers "
        "matches.",
    )


class ToneParams(ParamGroup, title="Tones and colors"):
    """How far tones and colors follow the references."""

    match_tone: bool = Field(
        True,
        title="Match tone",
        description="Transfer hues from matched regions, and lightness from the whole reference, "
        "before and after sampling.",
    )
    tone_lightness: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Tone lightness",
        description="How far lightness follows the references when tones are matched. Hues follow "
        "fully. Lower values keep more of the photo's form.",
    )
    color: Color = Field(
        "full",
        title="Color",
        description="`full` keeps the colors of the method. `keep-chroma` keeps the photo's hues "
        "and restyles lightness only. `match-histogram` gives each region the color histogram of "
        "its matched reference regions.",
    )


class FinishParams(ParamGroup, title="Finish"):
    """What of the photo returns to the result at the end."""

    detail: float = Field(
        0.075,
        ge=0,
        le=1,
        title="Detail",
        description="Fraction of the photo's fine luminance detail in the result. It keeps edges, "
        "seams and lettering, at some cost of style. 0 adds none.",
    )
    protect_feather: float = Field(
        0.02,
        ge=0,
        le=0.5,
        title="Protection feather",
        description="Width of the soft edge around protected pixels, as a fraction of the image's "
        "shorter side. The edge lies outside the protected area, whose pixels stay exact.",
    )


class TextureParams(ParamGroup, title="Texture"):
    """Fine texture from the references, at the size of the photo."""

    texture: float = Field(
        1.0,
        ge=0,
        le=1,
        title="Texture",
        description="Fraction of the fine texture, up to the photo's own size, that comes from "
        "matched patches of the references: canvas, hatching, stitches. 0 adds none.",
    )


class SizeParams(ParamGroup, title="Size"):
    """The sizes at which sampler `guided` works, from coarse to fine."""

    scale: float = Field(
        2.0,
        ge=1,
        le=16,
        title="Scale",
        description="Finest working size as a multiple of the model's training size, if "
        "`image_size` is 0; never above the photo's own size. Above 512 px the picture is made "
        "from coarse to fine. 1 works at the training size only.",
    )
    stroke_size: float = Field(
        1.0,
        ge=0.25,
        le=4,
        title="Stroke size",
        description="Size of strokes above the training size, as a multiple of their size in the "
        "reference relative to the picture. References are never enlarged.",
    )
    fine_steps: int = Field(
        20,
        ge=1,
        le=1000,
        title="Fine steps",
        description="`steps` of each finer size above 512 px.",
    )
    fine_strength: float = Field(
        0.55,
        gt=0,
        le=1,
        title="Fine strength",
        description="`strength` at the first finer size above 512 px. Lower values keep more of "
        "the coarse result.",
    )


class FormParams(ParamGroup, title="Form"):
    """What is done for products that lose their form."""

    form_floor: float = Field(
        0.4,
        ge=0,
        lt=1,
        title="Form floor",
        description="For sampler `guided`: a result that keeps less than this share of the "
        "product's outlines or of its contrast with the ground is made again with less strength, "
        "at most twice. 0 turns the check off.",
    )


class GroundParams(ParamGroup, title="Ground"):
    """What is done with the ground of packshots."""

    white_ground: WhiteGround = Field(
        "keep",
        title="White ground",
        description="`keep` leaves the pure white ground of a packshot as it is, as for a cut-out. "
        "`restyle` restyles it like the rest.",
    )
