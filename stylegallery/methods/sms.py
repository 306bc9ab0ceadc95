"""The method `sms`: style matching score with a learnt style (ICCV 2025, arXiv 2503.07601).

An adapter is learnt from the references once; see :mod:`stylegallery.adapters.learning`. An item
then takes a few UNet passes, or an optimization by the difference of two predictions of noise. The
published method takes adapters from elsewhere and prompts; this one needs neither.
"""

from typing import ClassVar

from stylegallery.guidance.loss_trace import OnStep
from stylegallery.methods.base import Samplers, WholeImageMethod
from stylegallery.sampling.adapted import InvertedSampler, NoisedSampler
from stylegallery.sampling.base import LatentSampler
from stylegallery.sampling.score_matching import ScoreMatchingSampler
from stylegallery.types import RestyledLatent, StyleJob

_INVERTED = 16


class StyleMatchingScore(WholeImageMethod):
    """A learnt style in 1, 2, 4 or 16 passes; passes 0 is the sampler `optimise`."""

    samplers: ClassVar[Samplers] = {"optimise": ScoreMatchingSampler}

    def restyle(self, jobs: list[StyleJob], on_step: OnStep | None = None) -> list[RestyledLatent]:
        """Return the restyled latents of jobs with one latent size and one adapter, in order.

        Raises:
            DidNotConverge: a loss is not finite.
        """
        sampler = self._sampler(self.params.sms.passes)
        return sampler(self.models, self.params, self.cache, on_step).sample(jobs)

    def _sampler(self, passes: int) -> type[LatentSampler]:
        if not passes:
            return self.samplers[self.params.sampler]
        return InvertedSampler if passes == _INVERTED else NoisedSampler
