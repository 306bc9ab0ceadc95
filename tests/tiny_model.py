"""Fake models for tests: diffusers folders with small random weights, read by the real loader."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

WIDTHS = (32, 64, 128, 128)
WORDS = ("red", "wool", "silk")
"""Words that the tokenizers of tiny text encoders know."""
_BETAS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


def write_tiny_model(folder: Path, prediction_type: str = "epsilon", **unet: Any) -> Path:
    """Write a seeded SD 1.x-shaped model of about 3 MB into `folder` and return it."""
    with _seeded():
        UNet2DConditionModel(
            **{
                "sample_size": 8,
                "in_channels": 4,
                "out_channels": 4,
                "block_out_channels": WIDTHS,
                "layers_per_block": 1,
                "attention_head_dim": 4,
                "cross_attention_dim": 16,
                "norm_num_groups": 8,
                **unet,
            }
        ).save_pretrained(folder / "unet")
        _tiny_vae().save_pretrained(folder / "vae")
    DDIMScheduler(
        **_BETAS,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    ).save_pretrained(folder / "scheduler")
    save_file({"null_embedding": torch.zeros(1, 1, 16)}, str(folder / "null_embedding.safetensors"))
    index = {"_class_name": "StableDiffusionPipeline"}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def write_tiny_sd15(folder: Path) -> Path:
    """Write an SD 1.x-shaped model with a text encoder instead of a stored null embedding."""
    write_tiny_model(folder)
    (folder / "null_embedding.safetensors").unlink()
    with _seeded():
        write_text_encoder(folder, 16)
    return folder


def write_tiny_sd21(folder: Path) -> Path:
    """Write an SD 2.1-shaped model: v-prediction, linear projections, heads of equal width."""
    return write_tiny_model(
        folder, "v_prediction", use_linear_projection=True, attention_head_dim=(2, 4, 8, 8)
    )


def write_tiny_sdxl(folder: Path, force_zeros: bool = True) -> Path:
    """Write an SDXL-shaped model: three levels, two text encoders, sizes as a condition."""
    with _seeded():
        UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            transformer_layers_per_block=(1, 1, 2),
            attention_head_dim=(2, 4, 4),
            cross_attention_dim=16 + 8,
            use_linear_projection=True,
            norm_num_groups=8,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=12 + 6 * 8,
        ).save_pretrained(folder / "unet")
        _tiny_vae().save_pretrained(folder / "vae")
        write_text_encoder(folder, 16)
        write_text_encoder(folder, 8, "_2", projection=12)
    # SDXL folders name the Euler scheduler, with settings that DDIM does not have
    EulerDiscreteScheduler(**_BETAS, timestep_spacing="linspace").save_pretrained(
        folder / "scheduler"
    )
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": force_zeros,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def write_text_encoder(
    folder: Path, width: int, suffix: str = "", projection: int | None = None
) -> None:
    """Write `text_encoder` and `tokenizer`, both with a suffix, for prompts of seven tokens.

    Each lower-case letter is a token, and the words of `WORDS` are one token each.
    """
    tokens, merges = _vocabulary()
    config = CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=width, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=7, bos_token_id=tokens["<|startoftext|>"],
        eos_token_id=tokens["<|endoftext|>"], projection_dim=projection or 16,
    )  # fmt: skip
    kind = CLIPTextModel if projection is None else CLIPTextModelWithProjection
    kind(config).save_pretrained(folder / f"text_encoder{suffix}")
    place = folder / f"tokenizer{suffix}"
    place.mkdir()
    (place / "vocab.json").write_text(json.dumps(tokens))
    (place / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    (place / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 7, "tokenizer_class": "CLIPTokenizer"})
    )


def _vocabulary() -> tuple[dict[str, int], list[str]]:
    """Return tokens with their numbers, and the merges that make words of letters."""
    found = [f"{letter}{end}" for letter in ascii_lowercase for end in ("", "</w>")] + [",</w>"]
    merges = []
    for word in WORDS:
        made, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for part in rest:
            merges.append(f"{made} {part}")
            made += part
            found.append(made)
    found += ["<|startoftext|>", "<|endoftext|>"]  # CLIP's last, which pooling looks for
    return {token: number for number, token in enumerate(dict.fromkeys(found))}, merges


def _tiny_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
    )


@contextmanager
def _seeded() -> Iterator[None]:
    """Seed torch inside the block, and restore its generator."""
    state = torch.random.get_rng_state()
    torch.manual_seed(7)
    yield
    torch.random.set_rng_state(state)
