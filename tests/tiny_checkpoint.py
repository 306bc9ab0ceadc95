"""Converts a tiny diffusers folder into a single file in the original (LDM) layout.

diffusers only converts in the other direction; the tests compare with that.
"""

import re
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from stylegallery.models.ldm_names import ldm_name

_VAE_NAMES = (
    (r"(up|down)samplers\.0", r"\1sample"),
    (r"resnets\.", "block."),
    (r"down_blocks\.", "down."),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_(q|k|v)", r"mid.attn_1.\1"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"mid_block\.block\.0", "mid.block_1"),
    (r"mid_block\.block\.1", "mid.block_2"),
)


def write_checkpoint(folder: Path, path: Path) -> Path:
    """Write the folder's UNet, autoencoder and (SD 1.x) text encoder into one file."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    tensors = {f"model.diffusion_model.{k}": v for k, v in _unet_tensors(unet).items()}
    for name, tensor in vae.state_dict().items():
        tensors[f"first_stage_model.{_vae_name(name, len(vae.config.up_block_types))}"] = tensor
    text = folder / "text_encoder" / "model.safetensors"
    if text.is_file() and not (folder / "text_encoder_2").is_dir():
        for name, tensor in load_file(text).items():
            inner = name.removeprefix("text_model.")
            tensors[f"cond_stage_model.transformer.text_model.{inner}"] = tensor
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, str(path))
    return path


def _unet_tensors(unet: Any) -> dict[str, Any]:
    attended = frozenset(i for i, b in enumerate(unet.up_blocks) if hasattr(b, "attentions"))
    named = {}
    for name, tensor in unet.state_dict().items():
        layer, _, kind = name.rpartition(".")
        named[f"{ldm_name(layer, unet.config.layers_per_block, attended)}.{kind}"] = tensor
    return named


def _vae_name(name: str, blocks: int) -> str:
    for pattern, replacement in _VAE_NAMES:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{blocks - 1 - int(m[1])}", name)
