"""The registry of methods: their names, samplers and published settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Method = Literal[
    "stylegallery",
    "stylegallery-paper",
    "attention-distillation",
    "styleid",
    "sms",
    "diffstyler",
    "contrastive-lora",
]
"""Names of the methods. `stylegallery.methods.registry` finds the class of each by its name."""

Sampler = Literal["optimise", "guided"]
Schedule = Literal["ddim", "lcm", "hyper"]
LearntFrom = Literal["", "gallery", "reference"]
"""What a method learns an adapter from: nothing, all references of a job, or each by itself."""

LCM_STEPS: Final = 50
"""Timesteps that latent consistency models are distilled on (arXiv 2310.04378)."""


@dataclass(frozen=True)
class MethodInfo:
    """What the parameters need to know of a method, without loading it.

    Attributes:
        summary: What the method does, in the words that follow its name in the help.
        defaults: Published settings. They replace the defaults of
            :class:`schemas.params.StyleParams`; presets and the user's values override them.
        samplers: The samplers that the method offers.
        uses_schedule: Whether its sampler `optimise` follows `schedule` and `repeats`.
        learns: What its learnt styles are learnt from. A method learns one adapter for a gallery,
            by the weights of its references, or one for each reference, which galleries share.
    """

    summary: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    samplers: tuple[Sampler, ...] = ("optimise", "guided")
    uses_schedule: bool = True
    learns: LearntFrom = ""


METHODS: Final[Mapping[Method, MethodInfo]] = {
    "stylegallery": MethodInfo("matches regions to regions"),
    "stylegallery-paper": MethodInfo(
        "reproduces the published code with its own defaults (arXiv 2603.10354)",
        {
            "sampler": "optimise",
            "scale": 1,
            "form_floor": 0,
            "texture": 0.0,
            "white_ground": "restyle",
            "strength": 0.6,
            "anchors": 0,
            "match_tone": False,
            "detail": 0.0,
            "settle_timestep": 0,
            "steps": 150,
            "learning_rate": 0.05,
            "content_weight": 0.26,
            "attention_scale": 1.5,
            "inversion_steps": 15,
            "max_regions": 10,
            "merge_threshold": 0.85,
            "min_region_fraction": 20 / 4096,
            "semantic_weight": 1.0,
            "statistical_weight": 0.25,
            "geometric_weight": 0.125,
        },
    ),
    "attention-distillation": MethodInfo(
        "treats each image as one region and uses all references at once (arXiv 2502.20235)",
        {
            "sampler": "optimise",
            "scale": 1,
            "form_floor": 0,
            "texture": 0.0,
            "white_ground": "restyle",
            "strength": 0.6,
            "anchors": 0,
            "match_tone": False,
            "detail": 0.0,
            "settle_timestep": 0,
            "start_noise": 0.0,
            "steps": 200,
            "learning_rate": 0.05,
            "content_weight": 0.25,
        },
    ),
    "styleid": MethodInfo(
        "does the same without optimization, by sampling with the references' keys and values "
        "(arXiv 2312.09008)",
        {
            "sampler": "optimise",
            "scale": 1,
            "form_floor": 0,
            "texture": 0.0,
            "white_ground": "restyle",
            "strength": 0.6,
            "steps": 50,
            "learning_rate": 0.14,
            "attention_scale": 1.5,
            "match_tone": False,
            "detail": 0.0,
        },
        samplers=("optimise",),
        uses_schedule=False,
    ),
    "sms": MethodInfo(
        "learns the references once and then takes few passes an item, or optimizes by score "
        "matching (arXiv 2503.07601)",
        {
            "sampler": "optimise",
            "scale": 1,
            "form_floor": 0,
            "texture": 0.0,
            "steps": 60,
            "learning_rate": 0.1,
            "strength": 0.8,
            "start_noise": 0.0,
        },
        samplers=("optimise",),
        uses_schedule=False,
        learns="gallery",
    ),
    "diffstyler": MethodInfo(
        "learns each reference once, and denoises the inverted photo with all of them, each in "
        "the regions that are matched to it (arXiv 2403.18461)",
        {
            "sampler": "optimise",
            "scale": 1,
            "form_floor": 0,
            "texture": 0.0,
            "steps": 10,
            "strength": 0.8,
        },
        samplers=("optimise",),
        uses_schedule=False,
        learns="reference",
    ),
    "contrastive-lora": MethodInfo(
        "learns the texture of each reference apart from what it shows, for materials such as "
        "embroidery, knit and denim, and keeps the photo's colors (arXiv 2509.18948)",
        {
            "sampler": "optimise",
            "scale": 1,
            "form_floor": 0,
            "texture": 0.0,
            "steps": 10,
            "strength": 0.8,
            "start_noise": 0.0,
            "match_tone": False,
            "color": "keep-chroma",
        },
        samplers=("optimise",),
        uses_schedule=False,
        learns="reference",
    ),
}
"""Entries of methods that do not use the defaults of :class:`MethodInfo`."""


def method_info(name: object) -> MethodInfo:
    """Return the entry of a method, or the defaults for a name without one."""
    return next((info for method, info in METHODS.items() if method == name), MethodInfo())


def summaries(names: tuple[Method, ...]) -> str:
    """Return one sentence per method for the help, such as "`styleid` does ... `x`."."""
    return " ".join(f"`{name}` {method_info(name).summary}".strip() + "." for name in names)


def check_sampler(method: Method, sampler: Sampler) -> None:
    """Refuse a sampler that the method does not offer.

    Raises:
        ValueError: there is no such combination.
    """
    if sampler not in method_info(method).samplers:
        raise ValueError(
            f"method {method} has no sampler `{sampler}`; leave out sampler, or choose another "
            "method."
        )


def check_schedule(
    method: Method, sampler: Sampler, schedule: Schedule, steps: int, repeats: int
) -> None:
    """Refuse a schedule that would not be used, or one with too many steps.

    Raises:
        ValueError: the settings do not go together.
    """
    used = sampler == "optimise" and method_info(method).uses_schedule
    if not used and (schedule, repeats) != ("ddim", 1):
        raise ValueError(
            "schedule and repeats belong to sampler `optimise` of methods that minimize an "
            f"energy; leave them out for method {method} with sampler `{sampler}`."
        )
    if schedule == "lcm" and steps > LCM_STEPS:
        raise ValueError(
            f"schedule lcm has at most {LCM_STEPS} steps; lower steps, or raise repeats."
        )
