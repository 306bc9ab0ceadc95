"""The contrast between what a style does to a prediction and what a design does to it."""

from torch import Tensor
from torch.nn import functional as F


def contrast_loss(
    style: Tensor, other_style: Tensor, design: Tensor, other_design: Tensor
) -> Tensor:
    """Return how much less alike two effects of a style are than each is to a design.

    Equation of the second stage of contrastive LoRA (arXiv 2509.18948), at temperature 1, with
    means over pairs as in the authors' code, which the text has as sums:
    `-log(exp(s(style, other_style)) / mean(exp(s(style, other_design)), exp(s(other_style,
    design))))` with the cosine similarity s. Only directions count, and the two pictures may be
    exchanged.

    Args:
        style: (C, h, w) or any shape: what the style changes in a prediction for one picture.
        other_style: Same shape, for the other picture.
        design: Same shape: what the design of the one picture changes in the prediction.
        other_design: Same shape, for the other picture.

    Returns:
        () between -2 and 2; 0 is no preference, and lower is better.
    """
    alike = _similarity(style, other_style)
    crossed = (_similarity(style, other_design).exp() + _similarity(other_style, design).exp()) / 2
    return crossed.log() - alike


def _similarity(one: Tensor, two: Tensor) -> Tensor:
    return F.cosine_similarity(one.flatten(), two.flatten(), dim=0)
