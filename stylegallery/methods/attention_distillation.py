"""The method `attention-distillation` (CVPR 2025, arXiv 2502.20235).

Each image is one region, and the keys and values of all references are concatenated. With
several references, the logarithm of a reference's weight is added to the logits of its keys.
"""

from stylegallery.methods.base import WholeImageMethod


class AttentionDistillation(WholeImageMethod):
    """Energies of the whole image, minimized by either sampler."""
