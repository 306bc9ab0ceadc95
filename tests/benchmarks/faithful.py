"""The authors' code of StyleGallery with all of its work, as the baseline of timings."""

from functools import cached_property

import torch
from torch import Tensor

from stylegallery.guidance.guidance import Guidance, GuidanceStep, LayerTargets
from stylegallery.guidance.region_attention import Router
from stylegallery.methods import paper
from stylegallery.methods.stylegallery_paper import PublishedOptimiseSampler
from stylegallery.models.attention import LayerRecord
from stylegallery.types import StyleJob


class DenseRouter(Router):
    """Masks that multiply, of all references, whether a region has chosen them or not."""

    @cached_property
    def masks(self) -> list[tuple[Tensor, int, Tensor]]:
        """Each content region's mask (h, w), its match's reference, and the match's mask there."""
        job, device = self.job, self._device
        matches = [job.routing.locate(index) for index in job.routing.best.tolist()]
        theirs = [job.styles[style].regions.one_hot[region].to(device) for style, region in matches]
        own = job.content.regions.one_hot.to(device)
        return [(m, s, o) for m, (s, _), o in zip(own, matches, theirs, strict=True)]


class DenseGuidance(Guidance):
    """Dense float32 attention per region, and whole UNet calls."""

    def route(self, job: StyleJob) -> Router:
        """Return the router of a job."""
        return DenseRouter(job, self._models.device)

    def style_energy(
        self, step: GuidanceStep, targets: LayerTargets, name: str, layer: LayerRecord
    ) -> Tensor:
        """Return the sum () of all content regions' style losses in one layer."""
        assert isinstance(targets.router, DenseRouter)
        query, output = layer.query.float(), layer.output.float()
        losses = []
        for mask, style, other in targets.router.masks:
            key, value = (part.float() for part in targets.styles[style][name])
            scale = self.params.attention.attention_scale
            losses.append(paper.style_loss(query, key, value, output, mask, other, scale))
        return torch.stack(losses).sum()

    def _capture(self, latent: Tensor, timestep: int) -> dict[str, LayerRecord]:
        self._models.denoise(latent, timestep)  # the whole UNet, as in the authors' code
        return dict(self._record.layers)


class DenseSampler(PublishedOptimiseSampler):
    """Replaces the sampler of `stylegallery-paper`."""

    guidance = DenseGuidance
