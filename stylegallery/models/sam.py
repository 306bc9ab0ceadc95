"""Automatic masks of Segment Anything (arXiv 2304.02643): a grid of points to a label map.

The `mask-generation` pipeline of transformers needs torchvision, which this project does not
depend on. Its post-processing is done here, on SAM's low-resolution masks of one cell per four
input pixels, which is far finer than the latent grid of the regions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.text import first_line
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.images.codec import resize

POINTS_PER_SIDE = 16
MIN_PREDICTED_IOU = 0.98
MIN_STABILITY = 0.95
MIN_AREA = 1000 / 512**2  # share of the frame
_MAX_BOX_IOU = 0.7
_POINTS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Proposals:
    """N masks as SAM predicts them.

    Attributes:
        logits: (N, h, w) float32 on the CPU; positive inside a mask.
        scores: (N,) predicted IoU with the true mask, about 0 to 1.
    """

    logits: Tensor
    scores: Tensor


class SamSegmenter:
    """Segments of an image, without classes."""

    def __init__(self, name: str, device: torch.device) -> None:
        """Load a SAM model by hub id or folder, such as `facebook/sam-vit-base`.

        Raises:
            ModelNotFound: it is neither a local folder nor on the hub.
            UnsupportedModel: it is another kind of model.
        """
        from transformers import AutoConfig, SamModel

        try:
            config = AutoConfig.from_pretrained(name, trust_remote_code=False)
            if config.model_type != "sam":
                raise UnsupportedModel(
                    f"{name} is a {config.model_type} model; use a SAM model such as "
                    "facebook/sam-vit-base."
                )
            net = SamModel.from_pretrained(name, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise ModelNotFound(
                f"SAM model {name!r} cannot be loaded ({first_line(error)}); download it "
                f"once with `hf download {name}`, or go without SAM."
            ) from error
        self._net = net.eval().requires_grad_(False).to(device)
        self._side = int(config.vision_config.image_size)
        # All SAM models use ImageNet statistics and zero padding below and right of the image.
        self._mean = torch.tensor([0.485, 0.456, 0.406], device=device).view(1, 3, 1, 1)
        self._std = torch.tensor([0.229, 0.224, 0.225], device=device).view(1, 3, 1, 1)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Segment pixels (1, 3, H, W) in [0, 1].

        Returns:
            (h, w) int64 on the CPU, with the image's aspect and a long side of a quarter of
            SAM's input (256 as published). Labels count from 1, largest mask first; 0 is no
            mask, as in a user's label image.
        """
        return paint_masks(keep_masks(self.propose(pixels)))

    @torch.no_grad()
    def propose(self, pixels: Tensor) -> Proposals:
        """Predict three masks at each point of a grid over pixels (1, 3, H, W) in [0, 1]."""
        height, width = pixels.shape[-2:]
        scale = self._side / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        inputs = (resize(pixels.to(self._mean.device), size) - self._mean) / self._std
        padded = F.pad(inputs, (0, self._side - size[1], 0, self._side - size[0]))
        embedding = self._net.get_image_embeddings(padded)
        logits, scores = [], []
        for points in _point_grid(size, POINTS_PER_SIDE).split(_POINTS_AT_ONCE):
            answer = self._net(
                image_embeddings=embedding,
                input_points=points.to(embedding.device)[None, :, None],
                multimask_output=True,
            )
            logits.append(answer.pred_masks[0].flatten(0, 1).float().cpu())
            scores.append(answer.iou_scores[0].flatten().float().cpu())
        masks = torch.cat(logits)
        inside = [max(1, round(s * masks.shape[-1] / self._side)) for s in size]
        return Proposals(masks[:, : inside[0], : inside[1]], torch.cat(scores))


def keep_masks(proposals: Proposals) -> Tensor:
    """Return the masks (M, h, w) bool with high score, stability and area, without duplicates.

    Stability is the IoU of the masks at logit +1 and -1. Of two masks whose boxes have an IoU
    above 0.7, the one with the lower score is dropped.
    """
    logits, scores = proposals.logits, proposals.scores
    inner = (logits > 1).sum(dim=(1, 2))
    outer = (logits > -1).sum(dim=(1, 2)).clamp(min=1)
    masks = logits > 0
    area = masks.float().mean(dim=(1, 2))
    good = (scores >= MIN_PREDICTED_IOU) & (inner / outer >= MIN_STABILITY) & (area >= MIN_AREA)
    order = scores[good].argsort(descending=True, stable=True)
    masks = masks[good][order]
    if not len(masks):
        return masks
    overlap = _box_iou(torch.stack([_box(mask) for mask in masks]))
    kept: list[int] = []
    for number in range(len(masks)):
        if not kept or overlap[number, kept].max() <= _MAX_BOX_IOU:
            kept.append(number)
    return masks[kept]


def paint_masks(masks: Tensor) -> Tensor:
    """Paint masks (M, h, w) bool over each other, largest first, into labels (h, w) int64.

    Labels count from 1 in that order, so small masks stay visible inside large ones; 0 is no
    mask. The label of a mask that is fully covered does not occur.
    """
    labels = torch.zeros(masks.shape[-2:], dtype=torch.int64)
    order = masks.sum(dim=(1, 2)).argsort(descending=True, stable=True)
    for label, mask in enumerate(masks[order], start=1):
        labels[mask] = label
    return labels


def _point_grid(size: tuple[int, int], per_side: int) -> Tensor:
    """Return (per_side², 2) points (x, y) in pixels, at the centers of equal cells."""
    steps = (torch.arange(per_side) + 0.5) / per_side
    rows, columns = torch.meshgrid(steps * size[0], steps * size[1], indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], dim=1)


def _box(mask: Tensor) -> Tensor:
    """Return (top, left, bottom, right) of a mask (h, w), the last two exclusive."""
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    return torch.stack([rows[0, 0], columns[0, 0], rows[-1, 0] + 1, columns[-1, 0] + 1])


def _box_iou(boxes: Tensor) -> Tensor:
    """Return the pairwise IoU (M, M) of boxes (M, 4)."""
    top_left = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = (bottom_right - top_left).clamp(min=0).prod(dim=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return common / (area[:, None] + area[None] - common)
