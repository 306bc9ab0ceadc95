"""Depth estimation by any such model of transformers, such as Depth Anything."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.text import first_line
from stylegallery.errors import ModelNotFound
from stylegallery.images.codec import to_bytes


class DepthEstimator:
    """Relative depth, to separate regions that look alike but lie at different depths."""

    def __init__(self, name: str, device: torch.device) -> None:
        """Load a model by hub id or folder, such as `depth-anything/Depth-Anything-V2-Small-hf`.

        Raises:
            ModelNotFound: it is neither a local folder nor on the hub, or it does not
                estimate depth.
        """
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        try:
            net = AutoModelForDepthEstimation.from_pretrained(
                name, use_safetensors=True, trust_remote_code=False
            )
            self._processor: Any = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ModelNotFound(
                f"depth model {name!r} cannot be loaded ({first_line(error)}); name a "
                f"model for depth estimation, downloaded once with `hf download "
                f"{name}`, or go without depth."
            ) from error
        self._net = net.eval().requires_grad_(False).to(device)
        self._device = device

    @torch.no_grad()
    def __call__(self, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        """Estimate the depth of pixels (1, 3, H, W) in [0, 1] on a grid of (h, w) cells.

        The model's own image processor sets size and normalization. The whole image is covered.

        Returns:
            (h, w) float32 in [0, 1] on the CPU, stretched to that range; all 0 if the depth is
            constant. Models that predict inverse depth, such as Depth Anything and DPT, give 1
            to the nearest point.
        """
        image = to_bytes(pixels).permute(1, 2, 0).numpy()
        inputs = self._processor(images=image, return_tensors="pt").to(self._device)
        raw: Tensor = self._net(**inputs).predicted_depth[:, None].float()
        depth = F.interpolate(raw, grid, mode="bilinear", antialias=True)[0, 0].cpu()
        low, high = depth.min(), depth.max()
        return (depth - low) / (high - low) if high > low else torch.zeros_like(depth)
