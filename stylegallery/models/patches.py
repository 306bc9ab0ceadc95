"""Patches of a loaded UNet: a oneDNN bug in bfloat16, and needless signature checks."""

from types import MethodType
from typing import Any

from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional as F


def skip_signature_check(unet: nn.Module) -> None:
    """Let attention layers call their processors without inspecting the signature.

    diffusers inspects the processor's signature at every call, to warn of ignored arguments. The
    engine passes none, and with small latents this takes a few percent of the UNet's time.
    Results do not change, and processors can still be replaced.
    """
    for module in unet.modules():
        if isinstance(module, Attention):
            module.forward = MethodType(_attend, module)


def _attend(
    attention: Any,
    hidden_states: Tensor,
    encoder_hidden_states: Tensor | None = None,
    attention_mask: Tensor | None = None,
    **arguments: Any,
) -> Tensor:
    attended: Tensor = attention.processor(
        attention,
        hidden_states,
        encoder_hidden_states=encoder_hidden_states,
        attention_mask=attention_mask,
        **arguments,
    )
    return attended


def fix_onednn_bf16(unet: nn.Module) -> None:
    """Recompute strided convolutions of a bfloat16 UNet on the CPU whose output has one column.

    On processors with AMX, oneDNN reads uninitialized memory there: the output is wrong or not
    finite (oneDNN 3.12 in torch 2.13). Latents up to 8 cells wide are affected; gradients are
    correct.
    """
    for module in unet.modules():
        if isinstance(module, nn.Conv2d) and module.stride[1] > 1:
            module.register_forward_hook(_recompute)


def _recompute(conv: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Compute the output with a second column of padding, and drop that column."""
    if output.shape[-1] > 1:
        return output
    wider = F.pad(inputs[0], (0, conv.stride[1]))
    return F.conv2d(wider, conv.weight, conv.bias, conv.stride, conv.padding)[..., :1]
