"""Style parameters: every setting of the method that can change the pixels of a result."""

import warnings
from typing import Any, Final, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from schemas.base import Frozen
from schemas.methods import (
    Method,
    Sampler,
    Schedule,
    check_sampler,
    check_schedule,
    method_info,
    summaries,
)

Routing = Literal["soft", "hard"]
Fallback = Literal["global", "content"]
Color = Literal["full", "keep-chroma", "match-histogram"]

RETIRED: Final = {"flat_loss": 0.0}
"""Parameters that no longer exist, at the value that had no effect. They are still accepted, and
ids are still hashed with them, so that finished items are recognized."""


class StyleParams(Frozen):
    """How an image is restyled. Defaults are the `balanced` preset."""

    model_config = ConfigDict(allow_inf_nan=False)

    method: Method = Field(
        "stylegallery",
        title="Method",
        description=f"The method. {summaries(get_args(Method))}",
    )
    sampler: Sampler = Field(
        "guided",
        title="Sampler",
        description="`guided` runs DDIM from the inverted photo and follows the gradient of the "
        "energies at each step. `optimise` descends the energies on the clean latent. `styleid` "
        "has a sampler of its own.",
    )
    image_size: int = Field(
        0,
        ge=0,
        le=2048,
        title="Working size",
        description="Short side in pixels at which the engine works. 0 uses the model's training "
        "size. The result always has the size of the photo.",
    )
    steps: int = Field(
        40,
        ge=1,
        le=1000,
        title="Steps",
        description="Number of timesteps. More steps are slower and give finer detail.",
    )
    strength: float = Field(
        0.6,
        gt=0,
        le=1,
        title="Strength",
        description="For sampler `guided`: fraction of the schedule that is run. Higher values "
        "keep less of the photo.",
    )
    repeats: int = Field(
        1, ge=1, le=100, title="Repeats", description="Optimization steps per timestep."
    )
    schedule: Schedule = Field(
        "ddim",
        title="Schedule",
        description="For sampler `optimise`: the timesteps to visit. Use `lcm` and `hyper` with "
        "LCM and Hyper-SD LoRAs.",
    )
    learning_rate: float = Field(
        0.14, gt=0, le=1, title="Learning rate", description="Step size on the latent."
    )
    content_weight: float = Field(
        0.02,
        ge=0,
        le=10,
        title="Content weight",
        description="Weight of the content loss on attention queries. Higher values keep more of "
        "the photo's structure.",
    )
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
    detail: float = Field(
        0.075,
        ge=0,
        le=1,
        title="Detail",
        description="Fraction of the photo's fine luminance detail in the result. It keeps edges, "
        "seams and lettering, at some cost of style. 0 adds none.",
    )
    settle_timestep: int = Field(
        60,
        ge=0,
        le=900,
        title="Settle timestep",
        description="For sampler `optimise`: at the end, suppress unnatural latent components, "
        "per band, then by one denoising step from this timestep. 0 disables both.",
    )
    start_noise: float = Field(
        0.02,
        ge=0,
        le=1,
        title="Start noise",
        description="Amount of seeded noise in the start latent. It lets flat areas grow texture.",
    )
    query_preservation: float = Field(
        0.75,
        ge=0,
        le=1,
        title="Query preservation",
        description="For `styleid`: fraction of the photo's own queries in attention. Lower "
        "values give more style and less structure.",
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
    color: Color = Field(
        "full",
        title="Color",
        description="`full` keeps the colors of the method. `keep-chroma` keeps the photo's hues "
        "and restyles lightness only. `match-histogram` gives each region the color histogram of "
        "its matched reference regions.",
    )
    protect_feather: float = Field(
        0.02,
        ge=0,
        le=0.5,
        title="Protection feather",
        description="Width of the soft edge around protected pixels, as a fraction of the image's "
        "shorter side. The edge lies outside the protected area, whose pixels stay exact.",
    )

    def hashed(self) -> dict[str, Any]:
        """Return the values that ids of items and runs are hashed from."""
        return {**self.model_dump(mode="json"), **RETIRED}

    @model_validator(mode="before")
    @classmethod
    def _published_settings(cls, given: Any) -> Any:
        """Drop retired parameters; fill in the method's published settings."""
        if not isinstance(given, dict):
            return given
        for name in RETIRED.keys() & given.keys():
            if given[name] not in (RETIRED[name], str(RETIRED[name]), "0"):
                warnings.warn(f"{name} no longer exists and has no effect", stacklevel=2)
        kept = {name: value for name, value in given.items() if name not in RETIRED}
        return {**method_info(kept.get("method")).defaults, **kept}

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        check_sampler(self.method, self.sampler)
        check_schedule(self.method, self.sampler, self.schedule, self.steps, self.repeats)
        return self
