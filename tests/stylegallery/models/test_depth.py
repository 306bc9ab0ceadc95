"""Depth through the real loaders, on tiny folders of two kinds of model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessorPil,
)

from stylegallery.errors import ModelNotFound
from stylegallery.models.depth import DepthEstimator
from tests.tiny_model import write_tiny_model

CPU = torch.device("cpu")


def write_depth_anything(folder: Path) -> Path:
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
        apply_layernorm=True,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=8, head_hidden_size=4,
    )  # fmt: skip
    net = DepthAnythingForDepthEstimation(config)
    torch.nn.init.constant_(net.head.conv3.bias, 1.0)  # the last ReLU would leave nothing
    net.save_pretrained(folder)
    DPTImageProcessorPil(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14
    ).save_pretrained(folder)
    return folder


def write_dpt(folder: Path) -> Path:
    config = DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
        image_size=64, patch_size=16, neck_hidden_sizes=[4, 4, 8, 8], fusion_hidden_size=8,
        backbone_out_indices=[0, 1, 2, 3],
    )  # fmt: skip
    net = DPTForDepthEstimation(config)
    torch.nn.init.constant_(net.head.head[4].bias, 1.0)
    net.save_pretrained(folder)
    DPTImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("write", [write_depth_anything, write_dpt])
def test_depth_covers_the_grid(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    torch.manual_seed(0)
    estimate = DepthEstimator(str(write(tmp_path / "d")), CPU)
    pixels = torch.rand(1, 3, 90, 60)
    depth = estimate(pixels, (12, 8))
    assert depth.shape == (12, 8)
    assert depth.dtype == torch.float32
    assert (depth.min(), depth.max()) == (0, 1)
    assert torch.equal(depth, estimate(pixels, (12, 8)))


def test_depth_without_differences_is_zero(tmp_path: Path) -> None:
    estimate = DepthEstimator(str(write_dpt(tmp_path / "d")), CPU)
    for parameter in estimate._net.parameters():
        parameter.zero_()
    assert not estimate(torch.rand(1, 3, 64, 64), (4, 4)).any()


def test_a_model_that_is_not_there_or_no_depth_estimator(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="hf download nobody/depth"):
        DepthEstimator("nobody/depth", CPU)
    with pytest.raises(ModelNotFound, match="name a model for depth estimation"):
        DepthEstimator(str(write_tiny_model(tmp_path / "m")), CPU)
    Dinov2Config(hidden_size=16, num_attention_heads=2).save_pretrained(tmp_path / "dino")
    with pytest.raises(ModelNotFound, match="name a model for depth estimation"):
        DepthEstimator(str(tmp_path / "dino"), CPU)
