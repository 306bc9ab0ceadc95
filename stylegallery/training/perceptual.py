"""How different two pictures look to EfficientNet-Lite0: the decoder's second loss."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylegallery.models.lite0 import lite0_features, load_lite0

BLOCKS = (2, 4, 10)  # strides 4, 8 and 16


class PerceptualLoss(nn.Module):
    """Mean squared distance of unit-length features, summed over three depths."""

    def __init__(self) -> None:
        super().__init__()
        self.net = load_lite0("cpu")

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        """Compare pictures (B, 3, H, W) in [0, 1]; the gradient flows to `out` alone."""
        with torch.no_grad():
            wanted = [F.normalize(f, dim=1) for f in lite0_features(self.net, target, BLOCKS)]
        seen = [F.normalize(f, dim=1) for f in lite0_features(self.net, out, BLOCKS)]
        parts = [(a - b).square().sum(1).mean() for a, b in zip(seen, wanted, strict=True)]
        return torch.stack(parts).sum()
