"""What the UNet is told when it is told nothing: the condition of the empty prompt."""

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
"""`addition_embed_type` of a UNet that also takes a pooled embedding and sizes, as SDXL's does."""

TIME_IDS = 6
"""SDXL's sizes: original height and width, crop top and left, target height and width."""

LoadText = Callable[[Any, str], Any]
"""Takes a text encoder's class and its subfolder, returns it with its weights."""


@dataclass(frozen=True, eq=False)
class NullCondition:
    """Embedding of the empty prompt.

    Attributes:
        embedding: (1, n, d), what the cross-attentions look at.
        pooled: (1, p), SDXL's second condition; None for UNets that take none.
    """

    embedding: Tensor
    pooled: Tensor | None = None


def null_condition(
    place: str | Path,
    unet: Any,
    index: dict[str, Any],
    options: dict[str, Any],
    load_text: LoadText,
) -> NullCondition:
    """Read the stored condition of the empty prompt, or make it as diffusers' pipelines do.

    SDXL was trained with zeros for "no prompt", which `force_zeros_for_empty_prompt` in
    model_index.json says; no text encoder is needed then.

    Args:
        place: Folder or hub id with tokenizers, and perhaps `null_embedding.safetensors` (key
            `null_embedding`, for SDXL also `pooled`).
        unet: Its config says which kind of condition it takes.
        index: The content of model_index.json; empty when there is none.
        options: For the tokenizers' `from_pretrained`.
        load_text: Where text encoders come from.

    Raises:
        OSError: a text encoder or tokenizer is needed and not there.
        ValueError: the stored condition cannot be used.
    """
    sdxl = unet.config.addition_embed_type == SDXL_EMBEDDING
    if isinstance(place, Path) and (place / NULL_EMBEDDING_FILE).is_file():
        stored = _stored(place / NULL_EMBEDDING_FILE)
        nothing = torch.zeros(1, pooled_size(unet)) if sdxl else None
        return NullCondition(stored["null_embedding"], stored.get("pooled", nothing))
    if not sdxl:
        return _encode_sd(place, options, load_text)
    if index.get("force_zeros_for_empty_prompt", True):
        # equal keys weigh the same however many there are: one zero token stands for all 77
        width = int(unet.config.cross_attention_dim)
        return NullCondition(torch.zeros(1, 1, width), torch.zeros(1, pooled_size(unet)))
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


def _encode_sd(place: str | Path, options: dict[str, Any], load_text: LoadText) -> NullCondition:
    from transformers import CLIPTextModel

    encoder = load_text(CLIPTextModel, "text_encoder")
    with torch.no_grad():
        return NullCondition(encoder(_tokens(place, "tokenizer", options)).last_hidden_state)


def _encode_sdxl(place: str | Path, options: dict[str, Any], load_text: LoadText) -> NullCondition:
    """Join the last but one hidden states of both encoders; the second one gives the pooled."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    first = load_text(CLIPTextModel, "text_encoder")
    second = load_text(CLIPTextModelWithProjection, "text_encoder_2")
    with torch.no_grad():
        left = first(_tokens(place, "tokenizer", options), output_hidden_states=True)
        right = second(_tokens(place, "tokenizer_2", options), output_hidden_states=True)
    joined = torch.cat([left.hidden_states[-2], right.hidden_states[-2]], dim=-1)
    return NullCondition(joined, right.text_embeds)


def _tokens(place: str | Path, subfolder: str, options: dict[str, Any]) -> Tensor:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(place, subfolder=subfolder, **options)
    length = tokenizer.model_max_length
    tokens: Tensor = tokenizer(
        "", padding="max_length", max_length=length, return_tensors="pt"
    ).input_ids
    return tokens
