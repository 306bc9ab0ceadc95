"""Read LoRA weights, and fuse them into a UNet: W += scale · up · down (arXiv 2106.09685).

diffusers' own loader needs peft. Fused weights cost no time at inference.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from schemas.engine import LoraSpec
from schemas.text import first_line, short_repr
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.fingerprint import lora_location
from stylegallery.models.hub import hub_file
from stylegallery.models.ldm_names import ldm_name

_HUB_FILE = "pytorch_lora_weights.safetensors"
# The engine uses the empty prompt only, so LoRA weights of text encoders are ignored.
_TEXT_PREFIXES = ("lora_te_", "lora_te1_", "lora_te2_", "text_encoder.", "text_encoder_2.")
_UNET_PREFIX = re.compile(r"^(lora_unet_|base_model\.model\.|unet\.)+")
# kohya `.lora_down.`, peft `.lora_A.` (or `.lora_A.default.`), diffusers `.lora.down.` and, in
# old files, `.processor.to_q_lora.down.`
_WEIGHT = re.compile(
    r"(?P<layer>.+?)[._]lora[._](?P<part>down|up|A|B)(\.default)?\.weight", re.ASCII
)
_PARTS = {"down": "down", "A": "down", "up": "up", "B": "up"}

Factors = tuple[Tensor, Tensor]
"""Down and up factor of a layer, float32, with alpha / rank in the up factor.

A linear layer has (r, in) and (out, r); a convolution (r, in, kh, kw) and (out, r, 1, 1).
"""


@dataclass
class _Pair:
    """The factors and alpha of one layer."""

    factors: dict[str, Tensor] = field(default_factory=dict)
    alpha: float | None = None


@torch.no_grad()
def fuse_lora(unet: Any, spec: LoraSpec) -> None:
    """Add the weights of one LoRA file to the UNet's linear and convolution layers, in place.

    Accepts the names of kohya (with LDM or diffusers layer names), peft and diffusers. Alpha
    defaults to the rank. The sum is computed in float32.

    Raises:
        ModelNotFound: the file cannot be loaded.
        UnsupportedModel: the file is no LoRA, or was trained for another model; the message
            names the unknown keys.
    """
    tensors, notes = _read(spec.weights)
    for name, factors in lora_factors(unet, tensors, notes, spec.weights).items():
        weight = unet.get_submodule(name).weight
        change = weight_change(factors, weight.shape)
        weight.copy_(weight.float() + spec.scale * change.to(weight.device))


def weight_change(factors: Factors, shape: torch.Size) -> Tensor:
    """Return up · down in the shape of the layer's weight, float32.

    A convolution's down factor has the kernel and its up factor is 1x1, so that the flattened
    factors multiply like those of a linear layer.
    """
    down, up = factors
    return (up.flatten(1) @ down.flatten(1)).reshape(shape)


def lora_factors(
    unet: Any, tensors: Mapping[str, Tensor], notes: Mapping[str, str], source: str
) -> dict[str, Factors]:
    """Return the factors of a LoRA file by the name of the UNet's layer.

    Args:
        unet: The UNet that the weights are for.
        tensors: The file's tensors by name.
        notes: The metadata in the file's header.
        source: Name of the file in messages.

    Raises:
        UnsupportedModel: the file is no LoRA, or was trained for another model.
    """
    common_alpha = _common_alpha(source, notes)
    pairs, unknown = _pairs(tensors, _layer_names(unet))
    if unknown or not pairs:
        raise UnsupportedModel(_mismatch(source, unknown))
    return {
        name: _checked(source, name, pair, unet.get_submodule(name).weight.shape, common_alpha)
        for name, pair in pairs.items()
    }


def _pairs(
    tensors: Mapping[str, Tensor], layers: Mapping[str, str]
) -> tuple[dict[str, _Pair], list[str]]:
    """Group a file's tensors by layer; also return the keys that match no layer."""
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


def _checked(
    source: str, name: str, pair: _Pair, shape: torch.Size, common_alpha: float | None
) -> Factors:
    """Return a layer's factors, if they fit the shape of its weight."""
    if set(pair.factors) != {"down", "up"}:
        raise UnsupportedModel(
            f"LoRA {source} lacks one of the two factors of {name}; download it again."
        )
    down, up = pair.factors["down"], pair.factors["up"]
    rank = down.shape[0]
    fits = up.shape[0] == shape[0] and down[0].numel() == shape[1:].numel()
    if not fits or up[0].numel() != rank:
        raise UnsupportedModel(
            f"LoRA {source} was trained for another model: {name} is {tuple(shape)} here, "
            f"its factors are {tuple(up.shape)} and {tuple(down.shape)}; use one for this model."
        )
    alpha = pair.alpha if pair.alpha is not None else common_alpha
    strength = 1.0 if alpha is None else alpha / rank
    kernel = (1,) * len(shape[2:])
    return down.reshape(rank, *shape[1:]), strength * up.reshape(shape[0], rank, *kernel)


def _layer_names(unet: Any) -> dict[str, str]:
    """Map every name of a layer in LoRA files, with underscores for dots, to the UNet's name."""
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


def _read(weights: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's tensors and metadata."""
    place = lora_location(weights)
    try:
        path = place if isinstance(place, Path) else hub_file(place, _HUB_FILE)
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            return {key: file.get_tensor(key) for key in file.keys()}, notes  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelNotFound(
            f"LoRA {weights} cannot be loaded ({first_line(error)}); give a local .safetensors "
            "file, or OWNER/REPO or OWNER/REPO/FILE.safetensors of the hub, downloaded once with "
            "`hf download`."
        ) from error


def _common_alpha(weights: str, notes: Mapping[str, str]) -> float | None:
    """Return the alpha of all layers in a file's metadata, if any."""
    adapter = _adapter(weights, notes.get("lora_adapter_metadata", "{}"))
    if any(adapter.get(f"unet.{key}") for key in ("use_rslora", "alpha_pattern")):
        raise UnsupportedModel(
            f"LoRA {weights} has a scale per layer (use_rslora or alpha_pattern), which is not "
            "supported; save it with one alpha, or fuse it with peft."
        )
    alpha = adapter.get("unet.lora_alpha")
    if not isinstance(alpha, int | float | None):
        raise _bad_metadata(weights, f"unet.lora_alpha is {short_repr(alpha, 40)}")
    return None if alpha is None else float(alpha)


def _adapter(weights: str, text: str) -> dict[str, Any]:
    """Return the metadata that diffusers writes into a LoRA file."""
    try:
        adapter = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad_metadata(weights, "lora_adapter_metadata is not JSON") from error
    if not isinstance(adapter, dict):
        raise _bad_metadata(weights, "lora_adapter_metadata is not a JSON object")
    return adapter


def _bad_metadata(weights: str, what: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"the metadata of LoRA {weights} is invalid ({what}); download it again, or save it "
        "without metadata."
    )


def _mismatch(source: str, unknown: list[str]) -> str:
    if not unknown:
        return f"LoRA {source} has no weights for a UNet; use one trained for this model."
    shown = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
    return (
        f"LoRA {source} does not fit this UNet: no layer matches {shown}; use a plain LoRA "
        "(no LoHa, LoKr or DoRA) that was trained for this model."
    )
