"""SAM through the real loader, and what is made of its masks."""

from pathlib import Path

import pytest
import torch
from transformers import (
    Dinov2Config,
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.sam import Proposals, SamSegmenter, keep_masks, paint_masks

CPU = torch.device("cpu")


def write_sam(folder: Path) -> Path:
    """Write a SAM that is sure of each of its random masks."""
    torch.manual_seed(0)
    net = SamModel(
        SamConfig(
            vision_config=SamVisionConfig(
                hidden_size=16, output_channels=16, num_hidden_layers=1, num_attention_heads=2,
                image_size=64, patch_size=16, window_size=2, global_attn_indexes=[0],
                num_pos_feats=8, mlp_dim=16, initializer_range=0.5,
            ),
            prompt_encoder_config=SamPromptEncoderConfig(
                hidden_size=16, image_size=64, patch_size=16, mask_input_channels=4
            ),
            mask_decoder_config=SamMaskDecoderConfig(
                hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2,
                iou_head_hidden_dim=8,
            ),
        )
    )  # fmt: skip
    head = net.mask_decoder.iou_prediction_head.proj_out
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.ones_(head.bias)
    for maker in net.mask_decoder.output_hypernetworks_mlps:
        maker.proj_out.weight.data *= 1e8  # far from the threshold, so that masks are stable
        maker.proj_out.bias.data *= 1e8
    net.save_pretrained(folder)
    return folder


def test_a_picture_is_segmented(tmp_path: Path) -> None:
    sam = SamSegmenter(str(write_sam(tmp_path / "sam")), CPU)
    pixels = torch.rand(1, 3, 90, 60)
    found = sam.propose(pixels)
    assert found.logits.shape == (16 * 16 * 3, 16, 11)  # a quarter of 64, long side first
    assert found.scores.shape == (16 * 16 * 3,)
    labels = sam(pixels)
    assert labels.shape == (16, 11)
    assert labels.dtype == torch.int64
    assert labels.max() >= 1
    assert torch.equal(labels, sam(pixels))


def boxes(*spans: tuple[int, int, int, int]) -> torch.Tensor:
    """Logits of rectangles (top, left, bottom, right) on a 20 x 20 grid."""
    logits = torch.full((len(spans), 20, 20), -9.0)
    for logit, (top, left, bottom, right) in zip(logits, spans, strict=True):
        logit[top:bottom, left:right] = 9.0
    return logits


def test_large_masks_lie_under_small_ones() -> None:
    masks = boxes((5, 5, 10, 10), (0, 0, 15, 20), (12, 0, 18, 4)) > 0
    labels = paint_masks(masks)
    assert labels[0, 0] == 1
    assert labels[6, 6] == 2
    assert labels[13, 1] == 3
    assert labels[19, 19] == 0


def test_only_good_masks_are_kept_and_none_twice() -> None:
    logits = boxes((0, 0, 10, 10), (0, 0, 10, 9), (10, 10, 20, 20), (0, 10, 10, 20), (5, 5, 6, 6))
    logits[3] /= 18  # |0.5|: stable for no threshold
    scores = torch.tensor([0.985, 0.99, 0.9, 0.99, 0.99])
    kept = keep_masks(Proposals(logits, scores))
    # the better of the first two; the third is unsure, the fourth unstable, the fifth tiny
    assert torch.equal(kept, logits[1:2] > 0)


def test_no_good_mask_leaves_everything_free() -> None:
    kept = keep_masks(Proposals(boxes((0, 0, 9, 9)), torch.tensor([0.1])))
    assert kept.shape == (0, 20, 20)
    assert not paint_masks(kept).any()


def test_a_model_that_is_not_there_or_no_sam(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="hf download nobody/sam"):
        SamSegmenter("nobody/sam", CPU)
    Dinov2Config().save_pretrained(tmp_path / "dino")
    with pytest.raises(UnsupportedModel, match="dinov2 model; use a SAM model"):
        SamSegmenter(str(tmp_path / "dino"), CPU)
