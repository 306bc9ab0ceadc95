"""Parameters of the method: everything that may change the pixels of a result."""

from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from schemas.base import Frozen
from schemas.methods import METHOD_DEFAULTS, Method, Sampler

Schedule = Literal["ddim", "lcm", "hyper"]
Routing = Literal["soft", "hard"]
Fallback = Literal["global", "content"]
Color = Literal["full", "keep-chroma", "match-histogram"]


LCM_STEPS: Final = 50
"""Timesteps that latent consistency models are distilled on (arXiv 2310.04378)."""


class StyleParams(Frozen):
    """How an image is restyled. Defaults are the `balanced` preset."""

    method: Method = Field(
        "stylegallery",
        title="Method",
        description="Algorithm: `stylegallery` matches region to region; `stylegallery-paper` does "
        "as the published code, at its own defaults; `attention-distillation` treats each image as "
        "one region and takes the style of all references at once; `styleid` does so too, without "
        "optimisation, by denoising with the references' keys and values.",
    )
    sampler: Sampler = Field(
        "optimise",
        title="Sampler",
        description="`optimise` descends the energies on one latent; `guided` denoises the "
        "inverted one and descends them a little at each step. `styleid` samples in its own way.",
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
        title="Optimisation steps",
        description="Number of steps on the latent, one per timestep. More is slower and "
        "brings stronger style.",
    )
    repeats: int = Field(
        1,
        ge=1,
        le=100,
        title="Repeats",
        description="Optimisation steps at each timestep.",
    )
    schedule: Schedule = Field(
        "ddim",
        title="Schedule",
        description="For sampler `optimise`: which timesteps are visited. `lcm` and `hyper` are "
        "those that LCM and Hyper-SD LoRAs were distilled for; load one with them.",
    )
    learning_rate: float = Field(
        0.05,
        gt=0,
        le=1,
        title="Learning rate",
        description="Size of Adam's steps on the latent.",
    )
    content_weight: float = Field(
        0.26,
        ge=0,
        le=10,
        title="Content weight",
        description="Weight of the content loss on attention queries; higher keeps more of the "
        "original's structure.",
    )
    attention_scale: float = Field(
        1.0,
        gt=0,
        le=10,
        title="Attention scale",
        description="Factor on the queries when they attend to the reference; above 1 sharpens "
        "the attention.",
    )
    anchors: int = Field(
        4,
        ge=0,
        le=1000,
        title="Anchors",
        description="Number of timesteps at which the photo's and the references' attention is "
        "looked at; each step takes the nearest. Fewer are faster; 0 looks at every step.",
    )
    inversion_steps: int = Field(
        15,
        ge=2,
        le=100,
        title="Inversion steps",
        description="DDIM inversion steps from which the region features are gathered.",
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
        0.4,
        ge=0,
        title="Merge threshold",
        description="Regions whose mean latents are closer than this are merged (Euclidean "
        "distance).",
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
        2.0,
        ge=0,
        le=100,
        title="Routing strength",
        description="How strongly soft routing favours matched regions; 0 ignores regions.",
    )
    match_tone: bool = Field(
        True,
        title="Match tone",
        description="Give each region the colours of its matches, before sampling and after it.",
    )
    settle_timestep: int = Field(
        60,
        ge=0,
        le=900,
        title="Settling",
        description="For sampler `optimise`: what optimising leaves in the latent and no picture "
        "has is taken out at the end, by limiting it band by band and as noise of this timestep. "
        "0 turns both off.",
    )
    start_noise: float = Field(
        0.02,
        ge=0,
        le=1,
        title="Start noise",
        description="Seeded noise on the starting latent, so that flat areas can grow texture.",
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

    @model_validator(mode="before")
    @classmethod
    def _published_settings(cls, given: Any) -> Any:
        """Let the method's own defaults stand in for whatever is not given."""
        if not isinstance(given, dict):
            return given
        own = [v for method, v in METHOD_DEFAULTS.items() if method == given.get("method")]
        return {**own[0], **given} if own else given

    @model_validator(mode="after")
    def _schedule_of_the_optimiser(self) -> Self:
        if (self.schedule, self.repeats) != ("ddim", 1) and (
            self.sampler == "guided" or self.method == "styleid"
        ):
            raise ValueError(
                "schedule and repeats (preset `fast`) belong to sampler `optimise`; leave them out "
                "for sampler `guided` and method `styleid`, which denoise by DDIM."
            )
        if self.schedule == "lcm" and self.steps > LCM_STEPS:
            raise ValueError(
                f"schedule lcm has at most {LCM_STEPS} steps; lower steps, or raise repeats."
            )
        return self

    @model_validator(mode="after")
    def _sampler_needs_energies(self) -> Self:
        if self.method == "styleid" and self.sampler == "guided":
            raise ValueError(
                "styleid optimises no energy that could guide; leave out sampler, or choose "
                "another method for sampler `guided`."
            )
        return self
