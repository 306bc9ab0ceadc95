"""The algorithms that may restyle an image, and the settings that each was published with."""

from typing import Any, Final, Literal

Method = Literal["stylegallery", "stylegallery-paper", "attention-distillation", "styleid"]
Sampler = Literal["optimise", "guided"]
Schedule = Literal["ddim", "lcm", "hyper"]

LCM_STEPS: Final = 50
"""Timesteps that latent consistency models are distilled on (arXiv 2310.04378)."""

METHOD_DEFAULTS: Final[dict[Method, dict[str, Any]]] = {
    "stylegallery-paper": {
        "sampler": "optimise",
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
    "attention-distillation": {
        "sampler": "optimise",
        "anchors": 0,
        "match_tone": False,
        "detail": 0.0,
        "settle_timestep": 0,
        "start_noise": 0.0,
        "steps": 200,
        "learning_rate": 0.05,
        "content_weight": 0.25,
    },
    "styleid": {
        "sampler": "optimise",
        "steps": 50,
        "attention_scale": 1.5,
        "match_tone": False,
        "detail": 0.0,
    },
}
"""The published settings of a method, if it was published with any (METHOD 1.1-1.3, 3.1, 3.2).

They stand in for the defaults of :class:`schemas.params.StyleParams`; a preset or a user's value
beats them.
"""


def check_sampler(method: Method, sampler: Sampler) -> None:
    """Refuse a sampler that the method does not have.

    Raises:
        ValueError: there is no such combination.
    """
    if method == "styleid" and sampler == "guided":
        raise ValueError(
            "styleid optimises no energy that could guide; leave out sampler, or choose "
            "another method for sampler `guided`."
        )


def check_schedule(
    method: Method, sampler: Sampler, schedule: Schedule, steps: int, repeats: int
) -> None:
    """Refuse a schedule where it would not be used, and one with too many steps.

    Raises:
        ValueError: the settings do not go together.
    """
    denoises = sampler == "guided" or method == "styleid"
    if denoises and (schedule, repeats) != ("ddim", 1):
        raise ValueError(
            "schedule and repeats belong to sampler `optimise`; set sampler=optimise, or leave "
            "them out for sampler `guided` and method `styleid`, which denoise by DDIM."
        )
    if schedule == "lcm" and steps > LCM_STEPS:
        raise ValueError(
            f"schedule lcm has at most {LCM_STEPS} steps; lower steps, or raise repeats."
        )
