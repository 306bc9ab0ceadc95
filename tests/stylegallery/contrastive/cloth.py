"""Small pictures with and without texture."""

import torch
from torch import Tensor

from stylegallery import Picture

THREADS = 5  # pixels from one to the next


def blocks(height: int = 96, width: int = 112) -> Tensor:
    """Four flat areas of different colors, (1, 3, H, W)."""
    colors = torch.tensor([[0.8, 0.3, 0.2], [0.2, 0.5, 0.7], [0.7, 0.7, 0.3], [0.4, 0.2, 0.5]])
    rows = (torch.arange(height) >= height // 2).long()[:, None]
    columns = (torch.arange(width) >= width // 3).long()[None]
    return colors[2 * rows + columns].permute(2, 0, 1)[None]


def woven(height: int = 96, width: int = 112, amount: float = 0.15) -> Picture:
    """The same with threads across it."""
    place = torch.arange(height)[:, None] + torch.arange(width)[None]
    threads = amount * torch.sin(place * (2 * torch.pi / THREADS))
    return Picture((blocks(height, width) + threads).clamp(0, 1))
