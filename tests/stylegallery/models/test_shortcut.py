"""The short way gives the same numbers, and asks for no signature."""

import inspect
from types import MethodType

import pytest
import torch
from diffusers.models.attention_processor import Attention

from stylegallery import StyleGallery
from stylegallery.models.attention import record_attention, style_layers


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
