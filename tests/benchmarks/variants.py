"""Variants of the ablations: parameters, numbers of references, and algorithms."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from schemas.methods import Method
from schemas.params import StyleParams
from stylegallery.guidance.attention_cache import AttentionBank
from stylegallery.guidance.loss_trace import OnStep
from stylegallery.methods.registry import Restyle
from stylegallery.methods.styleid import adain
from stylegallery.methods.zerofill import PublishedGuidance
from stylegallery.models.diffusion import Models
from stylegallery.models.inversion import inverted
from stylegallery.sampling import guided, optimise
from stylegallery.types import Job


@dataclass(frozen=True)
class Variant:
    """A variant of the method.

    Attributes:
        changes: Parameters that differ from the preset.
        references: Number of references.
        restyle: Replaces the method's algorithm.
        method: Replaces the method, but keeps the parameters of the replaced one.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    references: int = 1
    restyle: Restyle | None = None
    method: Method | None = None


def from_inverted(
    models: Models,
    jobs: list[Job],
    params: StyleParams,
    bank: AttentionBank,
    on_step: OnStep | None = None,
) -> optimise.Restyled:
    """Optimize from the inverted content, with the statistics of the inverted references."""
    steps, starts = params.inversion_steps, []
    for job in jobs:
        noisy, *styles = [
            inverted(models, image.latent.to(models.device), steps)[-1]
            for image in [job.content, *job.styles]
        ]
        starts.append(adain(noisy, styles, job.content, job.styles, job.routing))
    latent, traces = optimise.descend(models, torch.cat(starts), jobs, params, bank, on_step)
    return optimise.settle(models, latent, params.settle_timestep), traces


HARD = {"routing": "hard"}
OPTIMISE = {"sampler": "optimise", "steps": 40, "learning_rate": 0.05}
VARIANTS: dict[str, Variant] = {
    "stylegallery": Variant(),
    "attention-distillation": Variant({"method": "attention-distillation", "steps": 40}),
    "attention-distillation, 60 steps": Variant({"method": "attention-distillation", "steps": 60}),
    "attention-distillation, 200 steps": Variant(
        {"method": "attention-distillation", "steps": 200}
    ),
    "one region, our sampler": Variant(method="attention-distillation"),
    "stylegallery-paper": Variant({"method": "stylegallery-paper", "steps": 24}),
    "optimise": Variant(OPTIMISE),
    "styleid": Variant({"method": "styleid", "steps": 50}),
    "hard regions": Variant(HARD),
    "hard, masks by zero": Variant(HARD, restyle=partial(guided.sample, kind=PublishedGuidance)),
    "routing strength 0": Variant({"routing_strength": 0.0}),
    "routing strength 2": Variant({"routing_strength": 2.0}),
    "routing strength 4": Variant({"routing_strength": 4.0}),
    "routed to the end": Variant({"routing_share": 1.0}),
    "no ground term": Variant({"ground_weight": 0.0}),
    "gate 0": Variant({"min_similarity": 0.0}),
    "gate 0, keep content": Variant({"min_similarity": 0.0, "fallback": "content"}),
    "region loss off": Variant({"learning_rate": 1e-9}),
    "content loss off": Variant({"content_weight": 0.0}),
    "detail off": Variant({"detail": 0.0}),
    "tone off": Variant({"match_tone": False}),
    "lightness 1": Variant({"tone_lightness": 1.0}),
    "strength 0.4": Variant({"strength": 0.4}),
    "strength 1": Variant({"strength": 1.0}),
    "optimise from inverted": Variant(OPTIMISE, restyle=from_inverted),
    "optimise, settling off": Variant({**OPTIMISE, "settle_timestep": 0}),
    "optimise, all timesteps": Variant({**OPTIMISE, "anchors": 0}),
    "optimise, 1 anchor": Variant({**OPTIMISE, "anchors": 1}),
    "2 references": Variant(references=2),
    "3 references": Variant(references=3),
    "5 references": Variant(references=5),
}
