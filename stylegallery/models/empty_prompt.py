"""The text embedding of the empty prompt, which stands for no text."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stylegallery.models.prompts import PromptEmbedding
from stylegallery.models.text_encoder import TextEncoder

NULL_EMBEDDING_FILE = "null_embedding.safetensors"
SDXL_EMBEDDING = "text_time"
"""`addition_embed_type` of UNets that also take a pooled embedding and sizes: SDXL."""

TIME_IDS = 6
"""Number of SDXL's sizes: original height and width, crop top and left, target height and width."""


def is_sdxl(unet: Any) -> bool:
    """Return whether a UNet takes the embeddings of SDXL."""
    return bool(unet.config.addition_embed_type == SDXL_EMBEDDING)


def load_empty_prompt(encoder: TextEncoder, unet: Any, index: dict[str, Any]) -> PromptEmbedding:
    """Read the stored embedding of the empty prompt, or compute it as diffusers' pipelines do.

    SDXL uses zeros for the empty prompt if model_index.json sets `force_zeros_for_empty_prompt`;
    it then needs no text encoder.

    Args:
        encoder: The text encoders. Its place may hold `null_embedding.safetensors` (key
            `null_embedding`, for SDXL also `pooled`) instead.
        unet: The UNet, whose config says which embeddings it takes.
        index: The content of model_index.json; empty if there is none.

    Raises:
        OSError: a text encoder or tokenizer is needed and missing.
        ValueError: the stored embedding is invalid.
    """
    place = encoder.place
    if isinstance(place, Path) and (place / NULL_EMBEDDING_FILE).is_file():
        stored = _stored(place / NULL_EMBEDDING_FILE)
        zeros = torch.zeros(1, pooled_size(unet)) if encoder.sdxl else None
        return PromptEmbedding(stored["null_embedding"], stored.get("pooled", zeros))
    if encoder.sdxl and index.get("force_zeros_for_empty_prompt", True):
        # attention to one zero token equals attention to 77 of them
        width = int(unet.config.cross_attention_dim)
        return PromptEmbedding(torch.zeros(1, 1, width), torch.zeros(1, pooled_size(unet)))
    return encoder.encode([""])


def _stored(path: Path) -> dict[str, Tensor]:
    try:
        stored = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is no safetensors file: {error}") from error
    if "null_embedding" not in stored:
        raise ValueError(f"{path.name} lacks the key null_embedding")
    return stored


def pooled_size(unet: Any) -> int:
    """Return the width p of the pooled embedding that an SDXL UNet takes."""
    sizes = TIME_IDS * int(unet.config.addition_time_embed_dim)
    return int(unet.config.projection_class_embeddings_input_dim) - sizes
