"""A detour around convolutions that oneDNN computes wrongly in bfloat16."""

from types import MethodType
from typing import Any

from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional as F


def skip_signature_check(unet: nn.Module) -> None:
    """Let attention layers call their processors without asking which arguments those take.

    diffusers reads the processor's signature at every call, to warn of arguments that it would
    ignore. The engine passes none, and with small latents that takes a few hundredths of the
    UNet's time. Numbers, weights and names stay as they are, and processors may still be changed.
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
    """Let a UNet's strided convolutions take a detour when their output is one column wide.

    There, on processors that multiply in bfloat16 (AMX), oneDNN reads memory that nobody wrote:
    the output is finite but wrong, or not finite (oneDNN 3.12 in torch 2.13). It concerns latents
    up to 8 cells wide. Gradients are right.

    Args:
        unet: Of bfloat16, on the CPU; its weights and their names stay as they are.
    """
    for module in unet.modules():
        if isinstance(module, nn.Conv2d) and module.stride[1] > 1:
            module.register_forward_hook(_again)


def _again(conv: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Compute one more column, of padding, and leave it out."""
    if output.shape[-1] > 1:
        return output
    wider = F.pad(inputs[0], (0, conv.stride[1]))
    return F.conv2d(wider, conv.weight, conv.bias, conv.stride, conv.padding)[..., :1]
