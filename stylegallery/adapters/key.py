"""The key of a learnt style: a hash of all that learning depends on. Imports no torch."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from schemas.params import StyleParams

LEARNING_VERSION: Final = 1
"""Incremented when a code change changes what is learnt for equal parameters."""


def adapter_key(
    base: str, references: Sequence[tuple[str, float]], params: StyleParams, seed: int = 0
) -> str:
    """Return the key of a learnt style: a hash of all that learning depends on.

    Args:
        base: What identifies the model and the machine, such as
            :func:`stylegallery.models.fingerprint.learning_fingerprint`.
        references: Version of each reference's bytes and its weight; the order does not matter.
        params: Style parameters; only those of learning are used.
        seed: Seed of learning.

    Returns:
        64 hex digits.
    """
    chosen = params.adapter.model_dump(mode="json", exclude={"adapter_scale"})
    if params.method == "contrastive-lora":
        chosen |= {"method": params.method, **params.contrastive.model_dump(mode="json")}
    parts = [LEARNING_VERSION, base, sorted(references), params.image_size, chosen, seed]
    if params.prompts.style_prompt:
        parts.append(params.prompts.style_prompt)
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def canonical(value: Any) -> str:
    """Return a value as JSON, the same text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
