"""Parameters of the method: everything that may change the pixels of a result."""

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
        description=f"Algorithm: {summaries(get_args(Method))}.",
    )
    sampler: Sampler = Field(
        "guided",
        title="Sampler",
        description="`guided` denoises the inverted photo and descends the energies a little at "
        "each step; `optimise` descends them on the clean latent. `styleid` samples its own way.",
    )
    image_size: int = Field(
        0,
        ge=0,
        le=2048,
        title="Working size",
        description="Short side in pixels at which the engine works; 0 means the model's own "
        "training size. The result always has the original's size.",
    )
    steps: int = Field(
        40,
        ge=1,
        le=1000,
        title="Steps",
        description="Timesteps of the schedule. More is slower and finer.",
    )
    strength: float = Field(
        0.6,
        gt=0,
        le=1,
        title="Strength",
        description="For sampler `guided`: the share of the schedule that is taken, from noisy to "
        "clean; more lets go of more of the original.",
    )
    repeats: int = Field(
        1, ge=1, le=100, title="Repeats", description="Optimisation steps at each timestep."
    )
    schedule: Schedule = Field(
        "ddim",
        title="Schedule",
        description="For sampler `optimise`: the timesteps visited; `lcm` and `hyper` go with LCM "
        "and Hyper-SD LoRAs.",
    )
    learning_rate: float = Field(
        0.14, gt=0, le=1, title="Learning rate", description="Size of a step on the latent."
    )
    content_weight: float = Field(
        0.02,
        ge=0,
        le=10,
        title="Content weight",
        description="Weight of the content loss on attention queries; higher keeps more of the "
        "original's structure.",
    )
    attention_scale: float = Field(
        1.0, gt=0, le=10, title="Attention scale", description="Factor on queries; 2 is sharper."
    )
    anchors: int = Field(
        8,
        ge=0,
        le=1000,
        title="Anchors",
        description="Timesteps at which the attention of photo and references is looked at; each "
        "step takes the nearest. Fewer are faster and need less memory; 0 is all.",
    )
    inversion_steps: int = Field(
        15, ge=2, le=100, title="Inversion steps", description="DDIM steps to the region features."
    )
    max_regions: int = Field(
        10,
        ge=2,
        le=32,
        title="Most regions",
        description="Largest number of clusters tried when an image is cut into regions; the "
        "silhouette score chooses.",
    )
    merge_threshold: float = Field(
        0.4, ge=0, title="Merge threshold", description="Regions with closer mean latents merge."
    )
    min_region_fraction: float = Field(
        0.005,
        ge=0,
        le=0.5,
        title="Smallest region",
        description="Connected pieces smaller than this share of the image join their "
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
        description="Weight of the overlap of region circles (place and size) in matching.",
    )
    ground_weight: float = Field(
        0.5,
        ge=0,
        title="Figure and ground",
        description="Penalty in matching for mixing a region that touches the image border with "
        "one that does not.",
    )
    routing: Routing = Field(
        "soft",
        title="Routing",
        description="`soft` biases attention towards matched regions and uses all of every "
        "reference; `hard` lets a region see its best match alone.",
    )
    routing_strength: float = Field(
        1.0,
        ge=0,
        le=100,
        title="Routing strength",
        description="How strongly soft routing favours matched regions; 0 ignores regions.",
    )
    routing_share: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Routed share",
        description="Share of steps, from noisy to clean, in which soft routing favours matches.",
    )
    match_tone: bool = Field(
        True,
        title="Match tone",
        description="Give regions the hues of their matches, and all one light, before and after.",
    )
    tone_lightness: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Lightness of tones",
        description="How far light and shade follow the references when tones are matched; hues "
        "follow fully. Less keeps more of the original's form.",
    )
    detail: float = Field(
        0.075,
        ge=0,
        le=1,
        title="Detail",
        description="Share of the photo's own fine light and shade in the result, which keeps "
        "edges, seams and lettering, and costs style; 0 leaves all to the style.",
    )
    settle_timestep: int = Field(
        60,
        ge=0,
        le=900,
        title="Settling",
        description="For sampler `optimise`: at the end, what no picture has is taken out of the "
        "latent, band by band and as noise of this timestep. 0 turns both off.",
    )
    start_noise: float = Field(
        0.02, ge=0, le=1, title="Start noise", description="Seeded; lets flat areas grow texture."
    )
    query_preservation: float = Field(
        0.75,
        ge=0,
        le=1,
        title="Query preservation",
        description="For `styleid`: share of the original's own queries in attention; lower takes "
        "on more style and keeps less structure.",
    )
    min_similarity: float = Field(
        -1.0,
        ge=-10,
        le=10,
        title="Similarity gate",
        description="A region whose best match scores below this takes the fallback instead.",
    )
    fallback: Fallback = Field(
        "global",
        title="Fallback",
        description="What a region without a good match gets: `global` attends to the whole "
        "gallery, `content` keeps the original.",
    )
    color: Color = Field(
        "full",
        title="Colours",
        description="`full` takes colours as the method makes them; `keep-chroma` keeps the "
        "original's hues and takes light and shade alone; `match-histogram` gives each region the "
        "colour distribution of the reference regions it was matched to.",
    )
    protect_feather: float = Field(
        0.02,
        ge=0,
        le=0.5,
        title="Feather of protected areas",
        description="Width of the soft edge around protected pixels, as a share of the image's "
        "shorter side. It lies outside the protected area, whose pixels stay exact.",
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
