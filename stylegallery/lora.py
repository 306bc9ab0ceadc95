"""Add LoRA weights to a UNet, once and for good: no adapter stays behind that would cost time.

diffusers' own way needs peft; all it comes to is W += scale · alpha/rank · up · down.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from schemas.engine import LoraSpec
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.fingerprint import lora_location
from stylegallery.folders import reason
from stylegallery.hub import hub_file
from stylegallery.ldm_names import ldm_name
from stylegallery.wording import shown

_HUB_FILE = "pytorch_lora_weights.safetensors"
# The engine's only prompt is the empty one, so what a LoRA does to prompts is left out.
_TEXT_PREFIXES = ("lora_te_", "lora_te1_", "lora_te2_", "text_encoder.", "text_encoder_2.")
_UNET_PREFIX = re.compile(r"^(lora_unet_|base_model\.model\.|unet\.)+")
# kohya `.lora_down.`, peft `.lora_A.` (or `.lora_A.default.`), diffusers `.lora.down.` and, of
# old, `.processor.to_q_lora.down.`
_WEIGHT = re.compile(
    r"(?P<layer>.+?)[._]lora[._](?P<part>down|up|A|B)(\.default)?\.weight", re.ASCII
)
_PARTS = {"down": "down", "A": "down", "up": "up", "B": "up"}


@dataclass
class _Pair:
    """The two factors of one layer's change, as they are read."""

    factors: dict[str, Tensor] = field(default_factory=dict)
    alpha: float | None = None


@torch.no_grad()
def fuse_lora(unet: Any, spec: LoraSpec) -> None:
    """Add the weights of one LoRA file to the UNet's linear and convolution layers, in place.

    Reads kohya's names (also the original code's, as for SDXL), peft's and diffusers'. Without
    an alpha, alpha is the rank. The sum is made in float32.

    Raises:
        ModelNotFound: the file cannot be loaded; the message says what to do.
        UnsupportedModel: it holds something else, or was trained for another model; the message
            names the keys at fault.
    """
    tensors, common_alpha = _read(spec.weights)
    pairs, unknown = _pairs(tensors, _layer_names(unet))
    if unknown or not pairs:
        raise UnsupportedModel(_mismatch(spec, unknown))
    for name, pair in pairs.items():
        weight = unet.get_submodule(name).weight
        change = _change(spec, name, pair, weight.shape, common_alpha)
        weight.copy_(weight.float() + spec.scale * change.to(weight.device))


def _pairs(
    tensors: dict[str, Tensor], layers: dict[str, str]
) -> tuple[dict[str, _Pair], list[str]]:
    """Sort a file's tensors by the UNet's layers; also return the keys that fit nothing."""
    pairs: dict[str, _Pair] = {}
    unknown: list[str] = []
    for key, tensor in tensors.items():
        if key.startswith(_TEXT_PREFIXES):
            continue
        match = _WEIGHT.fullmatch(key)
        layer = match["layer"] if match else key.removesuffix(".alpha")
        name = layers.get(_UNET_PREFIX.sub("", layer).replace(".processor", "").replace(".", "_"))
        if name is None or (match is None and not key.endswith(".alpha")):
            unknown.append(key)
        elif match:
            pairs.setdefault(name, _Pair()).factors[_PARTS[match["part"]]] = tensor.float()
        else:
            pairs.setdefault(name, _Pair()).alpha = float(tensor)
    return pairs, unknown


def _change(
    spec: LoraSpec, name: str, pair: _Pair, shape: torch.Size, common_alpha: float | None
) -> Tensor:
    """Return alpha/rank · up · down in the shape of the layer's weight, float32.

    A convolution's down factor carries the kernel, its up factor is 1x1, so that flattened they
    multiply like a linear layer's.
    """
    if set(pair.factors) != {"down", "up"}:
        raise UnsupportedModel(
            f"LoRA {spec.weights} lacks one of the two factors of {name}; download it again."
        )
    down, up = pair.factors["down"], pair.factors["up"]
    rank = down.shape[0]
    fits = up.shape[0] == shape[0] and down[0].numel() == shape[1:].numel()
    if not fits or up[0].numel() != rank:
        raise UnsupportedModel(
            f"LoRA {spec.weights} was trained for another model: {name} is {tuple(shape)} here, "
            f"its factors are {tuple(up.shape)} and {tuple(down.shape)}; use one for this model."
        )
    alpha = pair.alpha if pair.alpha is not None else common_alpha
    strength = 1.0 if alpha is None else alpha / rank
    return (strength * up.flatten(1) @ down.flatten(1)).reshape(shape)


def _layer_names(unet: Any) -> dict[str, str]:
    """Map every name that a layer goes by in LoRA files, dots as underscores, to the UNet's."""
    attended = frozenset(
        number for number, block in enumerate(unet.up_blocks) if hasattr(block, "attentions")
    )
    per_block = unet.config.layers_per_block
    names = {}
    for name, module in unet.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        known = [name]
        if name.endswith(".to_out.0"):
            known.append(name.removesuffix(".0"))  # diffusers' old name: `to_out_lora`
        if isinstance(per_block, int):
            known.append(ldm_name(name, per_block, attended))
        names.update({alias.replace(".", "_"): name for alias in known})
    return names


def _read(weights: str) -> tuple[dict[str, Tensor], float | None]:
    """Return a file's tensors, and the alpha that holds for all of them where it says one."""
    place = lora_location(weights)
    try:
        path = place if isinstance(place, Path) else hub_file(place, _HUB_FILE)
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelNotFound(
            f"LoRA {weights} cannot be loaded ({reason(error)}); give a .safetensors file here, "
            "or OWNER/REPO or OWNER/REPO/FILE.safetensors of the hub, downloaded once with "
            "`hf download`."
        ) from error
    adapter = _adapter(weights, notes.get("lora_adapter_metadata", "{}"))
    if any(adapter.get(f"unet.{key}") for key in ("use_rslora", "alpha_pattern")):
        raise UnsupportedModel(
            f"LoRA {weights} scales its layers one by one (use_rslora or alpha_pattern), which is "
            "not known; save it with one alpha, or fuse it with peft."
        )
    alpha = adapter.get("unet.lora_alpha")
    if not isinstance(alpha, int | float | None):
        raise _spoilt(weights, f"unet.lora_alpha is {shown(alpha, 40)}")
    return tensors, None if alpha is None else float(alpha)


def _adapter(weights: str, text: str) -> dict[str, Any]:
    """Return what diffusers wrote into a LoRA's header."""
    try:
        adapter = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _spoilt(weights, "lora_adapter_metadata is no JSON") from error
    if not isinstance(adapter, dict):
        raise _spoilt(weights, "lora_adapter_metadata is no JSON object")
    return adapter


def _spoilt(weights: str, what: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"the metadata of LoRA {weights} cannot be used ({what}); download it again, or save it "
        "without metadata."
    )


def _mismatch(spec: LoraSpec, unknown: list[str]) -> str:
    if not unknown:
        return f"LoRA {spec.weights} holds no weights for a UNet; use one trained for this model."
    shown = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
    return (
        f"LoRA {spec.weights} does not fit this UNet: nothing takes {shown}; use a plain LoRA "
        "(no LoHa, LoKr or DoRA) that was trained for this model."
    )
