"""An adapter: a learnt style as values and as a LoRA file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from schemas.text import first_line
from stylegallery.adapters.key import canonical
from stylegallery.errors import UnsupportedModel
from stylegallery.models.lora import Factors, lora_factors

_METADATA = "lora_adapter_metadata"  # the name that diffusers reads
_NOTES = "stylegallery"
_WEAK = 0.99


@dataclass(frozen=True, eq=False)
class Adapter:
    """A style that was learnt from references, or LoRA weights from elsewhere.

    Attributes:
        factors: Down and up factor of each changed layer, float32 on the CPU, by the layer's
            name. At scale 1 the layer's weight changes by up · down.
        notes: How it was learnt, as JSON values; empty for a file from elsewhere.
        sha256: Hash of the file that it was read from; empty if it was not.
    """

    factors: Mapping[str, Factors]
    notes: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of all factors, for cache budgets."""
        return sum(4 * factor.numel() for pair in self.factors.values() for factor in pair)

    @property
    def is_weak(self) -> bool:
        """Whether learning lowered the error of the model's prediction by less than 1 %."""
        before, after = self.notes.get("error_before", 1.0), self.notes.get("error_after", 0.0)
        return bool(after > _WEAK * before)

    def to_bytes(self) -> bytes:
        """Return the adapter as a LoRA file in half precision, for our reader and diffusers'.

        The alpha of the file is its rank, so that a scale of 1 is the recommended strength.
        """
        tensors: dict[str, Tensor] = {}
        settings: dict[str, Any] = {}
        for name, (down, up) in self.factors.items():
            tensors[f"unet.{name}.lora_A.weight"] = down.half().contiguous()
            tensors[f"unet.{name}.lora_B.weight"] = up.half().contiguous()
            settings = {"unet.r": len(down), "unet.lora_alpha": len(down)}
        settings["unet.target_modules"] = sorted(self.factors)
        settings[_NOTES] = dict(self.notes)
        # one entry, because safetensors writes several in random order
        return save(tensors, {_METADATA: canonical(settings)})


def read_adapter(data: bytes, unet: Any, name: str) -> Adapter:
    """Read an adapter from the bytes of any plain LoRA file for this UNet.

    Args:
        data: The bytes of a safetensors file; see :meth:`Adapter.to_bytes`.
        unet: The UNet that the adapter is for.
        name: Name of the file in messages.

    Raises:
        UnsupportedModel: the file is damaged, no LoRA, or for another model; then the message
            names the layer.
    """
    try:
        tensors, header = load(data), _header(data)
        settings = json.loads(header.get(_METADATA, "{}"))
    except (SafetensorError, ValueError, RecursionError) as error:
        raise UnsupportedModel(
            f"adapter {name} is damaged or no safetensors file ({first_line(error)}); learn it "
            "again with `stylegallery learn`."
        ) from error
    factors = lora_factors(unet, tensors, header, name)
    if not all(factor.isfinite().all() for pair in factors.values() for factor in pair):
        raise UnsupportedModel(
            f"adapter {name} has values that are not finite; learn it again with `stylegallery "
            "learn`."
        )
    notes = settings.get(_NOTES)  # lora_factors has refused anything but an object
    digest = hashlib.sha256(data).hexdigest()
    return Adapter(factors, notes if isinstance(notes, dict) else {}, digest)


def as_stored(factors: Mapping[str, Factors], strength: float) -> dict[str, Factors]:
    """Return factors with a strength in them, rounded as a file rounds them, on the CPU."""
    return {
        name: (_rounded(down, 1.0), _rounded(up, strength)) for name, (down, up) in factors.items()
    }


def _rounded(factor: Tensor, strength: float) -> Tensor:
    return (strength * factor.detach().cpu()).half().float()


def _header(data: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file, whose header is JSON after its length."""
    length = int.from_bytes(data[:8], "little")
    notes: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return notes
