"""The algorithms that may restyle an image, and the settings that each was published with."""

from typing import Any, Final, Literal

Method = Literal["stylegallery", "stylegallery-paper", "attention-distillation", "styleid"]
Sampler = Literal["optimise", "guided"]

METHOD_DEFAULTS: Final[dict[Method, dict[str, Any]]] = {
    "stylegallery-paper": {
        "anchors": 0,
        "match_tone": False,
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
    "styleid": {"steps": 50, "attention_scale": 1.5, "match_tone": False},
}
"""The published settings of a method, where it was published with any (METHOD 1.1 to 1.3, 3.2).

They stand in for the defaults of :class:`schemas.params.StyleParams`; a preset or a user's value
beats them.
"""
