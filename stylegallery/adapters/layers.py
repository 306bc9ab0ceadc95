"""Apply adapters to a UNet: as branches beside its layers, or merged into its weights."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylegallery.adapters.adapter import Adapter
from stylegallery.models.diffusion import Models
from stylegallery.models.lora import Factors, weight_change

_ATTENTION = r"attn[{}]\.to_(q|k|v|out\.0)"
_OTHERS = r"ff\.net\.(0\.proj|2)|proj_in|proj_out|resnets\.\d+\.conv[12]"


@dataclass(frozen=True, eq=False)
class Branch:
    """An adapter beside the layers of a UNet: y = layer(x) + scale · up(down(x)).

    Attributes:
        factors: Down and up factor of each layer; they may be under training.
        scales: (B,) scale for each row of the batch. A row of scale 0 stays bit for bit what the
            layer gives. Guidance repeats the rows, and one scale serves any number of them.
        rows: (n,) int64 numbers of the rows that the scales are for; others are not computed. All
            rows if None.
    """

    factors: Mapping[str, Factors]
    scales: Tensor
    rows: Tensor | None = None


def text_is_empty(models: Models, prompt: str = "") -> bool:
    """Return whether the embedding of a prompt is zero, so that the text has no effect."""
    return not models.embedding(prompt).embedding.any()


def layer_names(models: Models, everything: bool, prompt: str = "") -> list[str]:
    """Return the layers that an adapter changes.

    The attentions' projections, and with `everything` also feed-forward layers, projections of
    the transformer blocks and convolutions of the residual blocks. Where the embedding of the
    prompt is zero, cross-attention adds a constant whatever its weights, and is left out.
    """
    attention = _ATTENTION.format("1" if text_is_empty(models, prompt) else "12")
    wanted = re.compile(rf"(.+\.)?({attention}{'|' + _OTHERS if everything else ''})", re.ASCII)
    return [
        name
        for name, module in models.unet.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and wanted.fullmatch(name)
    ]


@contextmanager
def branches(unet: Any, *added: Branch) -> Iterator[None]:
    """Add branches to the layers of a UNet, for every call inside the block.

    Hooks are on the layers themselves: code that replaces attention processors keeps them.
    """
    beside: dict[str, list[tuple[Factors, Branch]]] = {}
    for branch in added:
        for name, factors in branch.factors.items():
            beside.setdefault(name, []).append((factors, branch))
    hooks = [
        unet.get_submodule(name).register_forward_hook(partial(_add, parts))
        for name, parts in beside.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _add(
    parts: list[tuple[Factors, Branch]],
    layer: nn.Linear | nn.Conv2d,
    inputs: tuple[Tensor, ...],
    output: Tensor,
) -> Tensor:
    (whole,) = inputs
    for (down, up), branch in parts:
        x = whole if branch.rows is None else whole[branch.rows]
        down, up = down.to(x.dtype), up.to(x.dtype)
        if isinstance(layer, nn.Linear):
            change = F.linear(F.linear(x, down), up)
        else:
            narrow = F.conv2d(x, down, None, layer.stride, layer.padding)
            change = F.conv2d(narrow, up)
        scales = branch.scales.to(x.dtype)
        if branch.rows is None:
            scales = scales.repeat(len(x) // len(scales))
        change = scales.reshape(-1, *(1,) * (x.ndim - 1)) * change
        if branch.rows is None:
            output = output + change
        else:
            # a copy in place keeps the strides, which decide on the kernels of later layers
            output = output.clone().index_add_(0, branch.rows, change)
    return output


@contextmanager
def merged(unet: Any, adapter: Adapter, scale: float) -> Iterator[None]:
    """Add scale · up · down to the weights of a UNet, for every call inside the block.

    Equal to one branch for all rows up to the rounding of the weights' type, and costs no time
    per call. The sum is computed in float32. At the end the original tensors are put back, so
    nothing drifts.
    """
    originals: dict[str, nn.Parameter] = {}
    try:
        for name, factors in adapter.factors.items():
            layer = unet.get_submodule(name)
            weight = originals[name] = layer.weight
            change = weight_change(factors, weight.shape).to(weight.device)
            changed = torch.empty_like(weight)  # with its strides, which decide on kernels
            with torch.no_grad():
                changed.copy_(weight.float() + scale * change)
            layer.weight = nn.Parameter(changed, requires_grad=False)
        yield
    finally:
        for name, original in originals.items():
            unet.get_submodule(name).weight = original


def on_device(factors: Mapping[str, Factors], models: Models) -> dict[str, Factors]:
    """Return factors on the models' device."""
    return {
        name: (down.to(models.device), up.to(models.device)) for name, (down, up) in factors.items()
    }
