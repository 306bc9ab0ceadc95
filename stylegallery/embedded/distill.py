"""Plain attention distillation, as small as it can be: what the contact sheet shows.

The engine has the full method; this one keeps the training script free of it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch.nn import functional as F

from stylegallery.embedded.unet import build_scheduler, null_embedding

LAYERS = ("up_blocks.2.", "up_blocks.3.")
QKVO = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Recorder:
    """Attention processor that computes self-attention and keeps q, k, v and the output."""

    def __init__(self) -> None:
        self.seen: list[QKVO] = []

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, *_: object, **__: object
    ) -> torch.Tensor:
        """(B, N, C) -> (B, N, C)."""
        q, k, v = (
            layer(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer in (attn.to_q, attn.to_k, attn.to_v)
        )
        out = F.scaled_dot_product_attention(q, k, v)
        self.seen.append((q, k, v, out))
        result: torch.Tensor = attn.to_out[0](out.transpose(1, 2).flatten(2))
        return result


def recording(unet: UNet2DConditionModel) -> Callable[[torch.Tensor, int], list[QKVO]]:
    """Put a recorder on the six last self-attentions; returns the call that reads them."""
    recorder = Recorder()
    for name, module in unet.named_modules():
        if name.startswith(LAYERS) and name.endswith("attn1"):
            module.set_processor(recorder)

    def look(latents: torch.Tensor, timestep: int) -> list[QKVO]:
        recorder.seen = []
        null = null_embedding(len(latents), latents.device)
        with torch.autocast(latents.device.type, torch.bfloat16):
            unet(latents, timestep, encoder_hidden_states=null)
        return recorder.seen

    return look


def distill(
    unet: UNet2DConditionModel,
    content: torch.Tensor,
    style: torch.Tensor,
    steps: int,
    weight: float = 0.26,
    rate: float = 0.05,
) -> torch.Tensor:
    """Optimise the content's latents so that its attention reads the style's keys and values.

    Args:
        content: (1, C, h, w) UNet-scale latents.
        style: (1, C, h', w') UNet-scale latents.
        steps: Adam steps, one a timestep of the DDIM schedule, noisy to clean.
        weight: of the content's queries in the loss.

    Returns:
        (1, C, h, w).
    """
    look, schedule = recording(unet), build_scheduler()
    schedule.set_timesteps(steps)
    latents = content.clone().requires_grad_(True)
    adam = torch.optim.Adam([latents], rate)
    for t in schedule.timesteps.tolist():
        with torch.no_grad():
            keys = look(style, t)
            queries = look(content, t)
        loss = torch.zeros((), device=content.device)
        for (q, _, _, out), (_, ks, vs, _), (qc, *_) in zip(look(latents, t), keys, queries,
                                                           strict=True):  # fmt: skip
            target = F.scaled_dot_product_attention(q, ks, vs).detach()
            loss = loss + (out - target).abs().mean() + weight * (q - qc).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return latents.detach()
