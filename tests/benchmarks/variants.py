"""Variants of the ablations: parameters, numbers of references, and algorithms."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from schemas.methods import Method
from stylegallery.methods.stylegallery_paper import PublishedGuidedSampler
from stylegallery.methods.styleid import adain
from stylegallery.models.inversion import inverted_latents
from stylegallery.sampling.base import LatentSampler
from stylegallery.sampling.optimise import OptimiseSampler, denoise_once
from stylegallery.types import StyleJob


@dataclass(frozen=True)
class Variant:
    """A variant of the method.

    Attributes:
        changes: Parameters that differ from the preset.
        references: Number of references.
        sampler: Replaces the method's sampler.
        method: Replaces the method, but keeps the parameters of the replaced one.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    references: int = 1
    sampler: type[LatentSampler] | None = None
    method: Method | None = None


class FromInverted(OptimiseSampler):
    """Optimizes from the inverted content, with the statistics of the inverted references."""

    def start(self, job: StyleJob) -> Tensor:
        """Return the latent (1, C, h, w) to start from."""
        images, steps = [job.content, *job.styles], self.params.regions.inversion_steps
        latents = [image.latent.to(self.models.device) for image in images]
        noisy, *styles = [inverted_latents(self.models, one, steps)[-1] for one in latents]
        return adain(noisy, styles, job.content, job.styles, job.routing)

    def finish(self, start: Tensor, latent: Tensor, jobs: list[StyleJob]) -> Tensor:
        """Denoise once, without limits on the bands."""
        return denoise_once(self.models, latent, self.params.optimise.settle_timestep)


HARD = {"routing": "hard"}
FUSED = {"method": "diffstyler"}
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
    "diffstyler": Variant(FUSED),
    "diffstyler, nothing injected": Variant({**FUSED, "inject_features": 0, "inject_attention": 0}),
    "diffstyler, all injected": Variant({**FUSED, "inject_features": 1, "inject_attention": 1}),
    "diffstyler, adapters off": Variant({**FUSED, "adapter_scale": 0}),
    "hard regions": Variant(HARD),
    "hard, masks by zero": Variant(HARD, sampler=PublishedGuidedSampler),
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
    "optimise from inverted": Variant(OPTIMISE, sampler=FromInverted),
    "optimise, settling off": Variant({**OPTIMISE, "settle_timestep": 0}),
    "optimise, all timesteps": Variant({**OPTIMISE, "anchors": 0}),
    "optimise, 1 anchor": Variant({**OPTIMISE, "anchors": 1}),
    "2 references": Variant(references=2),
    "3 references": Variant(references=3),
    "5 references": Variant(references=5),
}
