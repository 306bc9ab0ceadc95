"""Patches change no number, except those that oneDNN gets wrong."""

import inspect
from types import MethodType

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import nn
from torch.nn import functional as F

from stylegallery import StyleGallery
from stylegallery.models.attention import record_attention, style_layers
from stylegallery.models.patches import fix_onednn_bf16


@pytest.mark.parametrize("channels", [96, 128])
@pytest.mark.parametrize("size", [(20, 1), (20, 2), (40, 2), (20, 3), (2, 2), (1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_column_is_as_in_float32(
    channels: int, size: tuple[int, int], layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1).bfloat16()
    fix_onednn_bf16(conv.to(memory_format=layout))
    pixels = torch.randn(1, channels, *size).bfloat16().contiguous(memory_format=layout)
    pixels.requires_grad_()
    plain = pixels.detach().float().requires_grad_()
    wanted = F.conv2d(plain, conv.weight.float(), conv.bias.float(), stride=2, padding=1)
    found = conv(pixels)
    torch.testing.assert_close(found.float(), wanted, atol=0.05, rtol=0.05)
    gradient = torch.randn_like(wanted).bfloat16()
    found.backward(gradient)
    wanted.backward(gradient.float())
    torch.testing.assert_close(pixels.grad.float(), plain.grad, atol=0.05, rtol=0.05)


def test_the_unet_asks_for_no_signature_and_predicts_the_same(
    engine: StyleGallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def refused(*_: object) -> None:
        raise AssertionError("a signature was asked for")

    unet = engine.models.unet
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(inspect, "signature", refused)
        short = engine.models.denoise(latent, 300)
        with record_attention(unet, style_layers(unet)) as record:
            engine.models.denoise(latent, 300)
    assert record.layers
    with monkeypatch.context() as patch, torch.no_grad():
        for module in unet.modules():
            if isinstance(module, Attention):
                patch.setattr(module, "forward", MethodType(Attention.forward, module))
        long = engine.models.denoise(latent, 300)
    assert torch.equal(short, long)
