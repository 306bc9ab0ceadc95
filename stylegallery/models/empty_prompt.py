"""The text embedding of the empty prompt, the only prompt of the engine."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

NULL_EMBEDDING_FILE = "null_embedding.safetensors"
SDXL_EMBEDDING = "text_time"
"""`addition_embed_type` of UNets that also take a pooled embedding and sizes: SDXL."""

TIME_IDS = 6
"""Number of SDXL's sizes: original height and width, crop top and left, target height and width."""

LoadText = Callable[[Any, str], Any]
"""Loads a text encoder, given its class and subfolder."""


@dataclass(frozen=True, eq=False)
class EmptyPromptEmbedding:
    """Embedding of the empty prompt.

    Attributes:
        embedding: (1, n, d) input of the cross-attentions.
        pooled: (1, p) pooled embedding; SDXL only.
    """

    embedding: Tensor
    pooled: Tensor | None = None


def load_empty_prompt(
    place: str | Path,
    unet: Any,
    index: dict[str, Any],
    options: dict[str, Any],
    load_text: LoadText,
) -> EmptyPromptEmbedding:
    """Read the stored embedding of the empty prompt, or compute it as diffusers' pipelines do.

    SDXL uses zeros for the empty prompt if model_index.json sets `force_zeros_for_empty_prompt`;
    it then needs no text encoder.

    Args:
        place: Folder or hub id with tokenizers, and perhaps `null_embedding.safetensors` (key
            `null_embedding`, for SDXL also `pooled`).
        unet: The UNet, whose config says which embeddings it takes.
        index: The content of model_index.json; empty if there is none.
        options: Options of the tokenizers' `from_pretrained`.
        load_text: Loads text encoders.

    Raises:
        OSError: a text encoder or tokenizer is needed and missing.
        ValueError: the stored embedding is invalid.
    """
    sdxl = unet.config.addition_embed_type == SDXL_EMBEDDING
    if isinstance(place, Path) and (place / NULL_EMBEDDING_FILE).is_file():
        stored = _stored(place / NULL_EMBEDDING_FILE)
        zeros = torch.zeros(1, pooled_size(unet)) if sdxl else None
        return EmptyPromptEmbedding(stored["null_embedding"], stored.get("pooled", zeros))
    if not sdxl:
        return _encode_sd(place, options, load_text)
    if index.get("force_zeros_for_empty_prompt", True):
        # attention to one zero token equals attention to 77 of them
        width = int(unet.config.cross_attention_dim)
        return EmptyPromptEmbedding(torch.zeros(1, 1, width), torch.zeros(1, pooled_size(unet)))
    return _encode_sdxl(place, options, load_text)


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


def _encode_sd(
    place: str | Path, options: dict[str, Any], load_text: LoadText
) -> EmptyPromptEmbedding:
    from transformers import CLIPTextModel

    encoder = load_text(CLIPTextModel, "text_encoder")
    with torch.no_grad():
        return EmptyPromptEmbedding(encoder(_tokens(place, "tokenizer", options)).last_hidden_state)


def _encode_sdxl(
    place: str | Path, options: dict[str, Any], load_text: LoadText
) -> EmptyPromptEmbedding:
    """Concatenate the penultimate hidden states of both encoders; the second gives `pooled`."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    first = load_text(CLIPTextModel, "text_encoder")
    second = load_text(CLIPTextModelWithProjection, "text_encoder_2")
    with torch.no_grad():
        left = first(_tokens(place, "tokenizer", options), output_hidden_states=True)
        right = second(_tokens(place, "tokenizer_2", options), output_hidden_states=True)
    joined = torch.cat([left.hidden_states[-2], right.hidden_states[-2]], dim=-1)
    return EmptyPromptEmbedding(joined, right.text_embeds)


def _tokens(place: str | Path, subfolder: str, options: dict[str, Any]) -> Tensor:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(place, subfolder=subfolder, **options)
    length = tokenizer.model_max_length
    tokens: Tensor = tokenizer(
        "", padding="max_length", max_length=length, return_tensors="pt"
    ).input_ids
    return tokens
