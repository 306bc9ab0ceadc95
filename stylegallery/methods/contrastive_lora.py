"""The method `contrastive-lora`: textures of materials (SIGGRAPH Asia 2025, arXiv 2509.18948).

An adapter of each reference is learnt by :mod:`stylegallery.contrastive.learning`: what the
reference has and its design lacks. An item then is inverted with the plain UNet and denoised with
the adapters, blended by weight. The published method guides an image-to-image pass by prompts and
two ControlNets; here the inverted noise keeps the form.
"""

from typing import ClassVar

from stylegallery.methods.base import Samplers, WholeImageMethod
from stylegallery.sampling.blended import BlendedSampler


class ContrastiveLora(WholeImageMethod):
    """A learnt texture, with the photo's own colors."""

    samplers: ClassVar[Samplers] = {"optimise": BlendedSampler}
