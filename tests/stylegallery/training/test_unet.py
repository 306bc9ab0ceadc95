"""Cross-attention to the null embedding may be skipped."""

import torch

from stylegallery.training.unet import build_unet, null_embedding, skip_cross_attention


def test_skipped_cross_attention_changes_nothing() -> None:
    torch.manual_seed(0)
    unet = build_unet(4, (32, 32, 32, 32), 8).eval()
    latents = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        full = unet(latents, 300, encoder_hidden_states=null_embedding(2)).sample
        skip_cross_attention(unet)
        short = unet(latents, 300, encoder_hidden_states=null_embedding(2)).sample
    torch.testing.assert_close(full, short, atol=1e-5, rtol=1e-4)
