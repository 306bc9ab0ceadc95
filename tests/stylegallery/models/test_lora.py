"""LoRA files in every naming they come in: the same weights, by plain arithmetic."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from schemas.engine import EngineSpec, LoraSpec
from schemas.presets import preset_params
from stylegallery import StyleGallery
from stylegallery.errors import ModelNotFound, UnsupportedModel
from stylegallery.models.diffusion import load_models
from stylegallery.models.ldm_names import ldm_name
from tests.stylegallery.conftest import figure_on_ground
from tests.tiny_model import write_tiny_model, write_tiny_sdxl

BLOCK = "up_blocks.2.attentions.0"
LINEAR = f"{BLOCK}.transformer_blocks.0.attn1.to_q"
OUT = f"{BLOCK}.transformer_blocks.0.attn2.to_out.0"
POINTWISE = f"{BLOCK}.proj_in"  # a 1x1 convolution in SD 1.x
CONVOLUTION = "down_blocks.0.resnets.0.conv1"
RANK = 3

Factors = dict[str, tuple[Tensor, Tensor]]


def factors(unet: Any, names: tuple[str, ...]) -> Factors:
    """Random down and up of each layer; a convolution's down has the kernel."""
    made = {}
    for seed, name in enumerate(names):
        shape = unet.get_submodule(name).weight.shape
        generator = torch.Generator().manual_seed(seed)
        ones = (1,) * (len(shape) - 2)
        down = torch.randn(RANK, *shape[1:], generator=generator)
        made[name] = (down, torch.randn(shape[0], RANK, *ones, generator=generator))
    return made


def kohya(name: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    key = "lora_unet_" + name.replace(".", "_")
    return {
        f"{key}.lora_down.weight": down,
        f"{key}.lora_up.weight": up,
        f"{key}.alpha": torch.tensor(1.5),
    }


def peft(name: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    return {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}


def peft_model(name: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    key = f"base_model.model.{name}"
    return {f"{key}.lora_A.default.weight": down, f"{key}.lora_B.default.weight": up}


def diffusers(name: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    return {f"unet.{name}.lora.down.weight": down, f"unet.{name}.lora.up.weight": up}


def processor(name: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    if "attn" not in name:
        return diffusers(name, down, up)
    attention, _, layer = name.removesuffix(".0").rpartition(".")
    key = f"unet.{attention}.processor.{layer}_lora"
    return {f"{key}.down.weight": down, f"{key}.up.weight": up}


def weights(folder: Path, *loras: LoraSpec) -> Any:
    spec = EngineSpec(model=str(folder), device="cpu", dtype="float32", loras=loras)
    return load_models(spec).unet


@pytest.mark.parametrize(
    ("write", "strength"),
    [(kohya, 1.5 / RANK), (peft, 1.0), (peft_model, 1.0), (diffusers, 1.0), (processor, 1.0)],
)
def test_every_naming_gives_the_same_arithmetic(
    tmp_path: Path, write: Callable[[str, Tensor, Tensor], dict[str, Tensor]], strength: float
) -> None:
    folder = write_tiny_model(tmp_path / "m")
    before = weights(folder)
    made = factors(before, (LINEAR, OUT, POINTWISE, CONVOLUTION))
    tensors = {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.zeros(1, 1)}
    for name, (down, up) in made.items():
        tensors |= write(name, down, up)
    save_file(tensors, str(tmp_path / "lora.safetensors"))
    after = weights(folder, LoraSpec(weights=str(tmp_path / "lora.safetensors"), scale=0.7))
    old, new = before.state_dict(), after.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {f"{name}.weight" for name in made}
    for name, (down, up) in made.items():
        product = torch.einsum("or,ri...->oi...", up.flatten(1), down)
        expected = old[f"{name}.weight"] + 0.7 * strength * product
        assert torch.allclose(new[f"{name}.weight"], expected, atol=1e-5)


def test_a_fused_convolution_acts_as_both_in_a_row(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    before = weights(folder)
    [(name, (down, up))] = factors(before, (CONVOLUTION,)).items()
    save_file(peft(name, down, up), str(tmp_path / "l.safetensors"))
    after = weights(folder, LoraSpec(weights=str(tmp_path / "l.safetensors")))
    pixels = torch.randn(1, 32, 6, 6)
    inner = torch.nn.functional.conv2d(pixels, down, padding=1)
    expected = before.get_submodule(name)(pixels) + torch.nn.functional.conv2d(inner, up)
    assert torch.allclose(after.get_submodule(name)(pixels), expected, atol=1e-3)


def test_several_loras_add_up_and_metadata_give_alpha(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    before = weights(folder)
    [(name, (down, up))] = factors(before, (LINEAR,)).items()
    path = tmp_path / "l.safetensors"
    notes = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 6, "unet.r": RANK})}
    save_file(peft(name, down, up), str(path), notes)
    after = weights(folder, *(LoraSpec(weights=str(path), scale=s) for s in (0.5, 0.25)))
    expected = before.get_submodule(name).weight + 0.75 * 6 / RANK * up @ down
    assert torch.allclose(after.get_submodule(name).weight, expected, atol=1e-5)


def test_sdxl_loras_in_the_original_codes_names(tmp_path: Path) -> None:
    folder = write_tiny_sdxl(tmp_path / "m")
    before = weights(folder)
    names = {
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k": (
            "input_blocks_3_1_transformer_blocks_0_attn1_to_k"
        ),
        "mid_block.attentions.0.proj_out": "middle_block_1_proj_out",
        "up_blocks.0.attentions.1.proj_in": "output_blocks_1_1_proj_in",
        "up_blocks.0.upsamplers.0.conv": "output_blocks_1_2_conv",
        "up_blocks.2.resnets.0.time_emb_proj": "output_blocks_4_0_emb_layers_1",
    }
    made = factors(before, tuple(names))
    tensors = {}
    for name, (down, up) in made.items():
        tensors |= kohya(names[name], down, up)
    save_file(tensors, str(tmp_path / "l.safetensors"))
    old = before.state_dict()
    new = weights(folder, LoraSpec(weights=str(tmp_path / "l.safetensors"))).state_dict()
    assert {n for n in old if not torch.equal(old[n], new[n])} == {f"{n}.weight" for n in names}


def test_the_original_codes_names() -> None:
    """As listed in SD 1.5's and SDXL's own checkpoints."""
    sd15, sdxl = frozenset({1, 2, 3}), frozenset({0, 1})
    assert ldm_name("down_blocks.1.attentions.0.proj_in", 2, sdxl) == "input_blocks.4.1.proj_in"
    assert ldm_name("down_blocks.0.downsamplers.0.conv", 2, sd15) == "input_blocks.3.0.op"
    assert ldm_name("up_blocks.0.upsamplers.0.conv", 2, sd15) == "output_blocks.2.1.conv"
    assert ldm_name("up_blocks.0.upsamplers.0.conv", 2, sdxl) == "output_blocks.2.2.conv"
    assert ldm_name("up_blocks.3.resnets.2.conv2", 2, sd15) == "output_blocks.11.0.out_layers.3"
    assert ldm_name("mid_block.resnets.1.conv1", 2, sd15) == "middle_block.2.in_layers.2"
    assert ldm_name("add_embedding.linear_2", 2, sdxl) == "label_emb.0.2"


def refused(tmp_path: Path, tensors: dict[str, Tensor], notes: dict[str, str] | None = None) -> str:
    save_file(tensors, str(tmp_path / "bad.safetensors"), notes)
    with pytest.raises(UnsupportedModel) as caught:
        weights(
            write_tiny_model(tmp_path / "m"), LoraSpec(weights=str(tmp_path / "bad.safetensors"))
        )
    assert "bad.safetensors" in str(caught.value)
    return str(caught.value)


def test_keys_that_fit_nothing_are_named(tmp_path: Path) -> None:
    keys = [f"lora_unet_up_blocks_9_to_q{i}.lora_down.weight" for i in range(4)]
    keys.append(f"unet.{LINEAR}.lora_magnitude_vector")
    message = refused(tmp_path, {key: torch.zeros(1, 1) for key in keys})
    assert "lora_unet_up_blocks_9_to_q0.lora_down.weight" in message
    assert "and 2 more" in message


def test_a_lora_for_another_model_is_named(tmp_path: Path) -> None:
    message = refused(tmp_path, peft(LINEAR, torch.zeros(2, 77), torch.zeros(77, 2)))
    assert f"trained for another model: {LINEAR}" in message


def test_a_lora_without_its_half_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, {f"unet.{LINEAR}.lora_A.weight": torch.zeros(2, 64)})
    assert "lacks one of the two factors" in message


def test_a_lora_for_text_alone_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, {"text_encoder.a.lora_A.weight": torch.zeros(1, 1)})
    assert "has no weights for a UNet" in message


def test_scalings_that_are_not_known_are_refused(tmp_path: Path) -> None:
    notes = {"lora_adapter_metadata": json.dumps({"unet.use_rslora": True})}
    message = refused(tmp_path, peft(LINEAR, torch.zeros(2, 64), torch.zeros(64, 2)), notes)
    assert "use_rslora" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{no json", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"unet.lora_alpha": "a"}', "unet.lora_alpha is 'a'"),
    ],
)
def test_metadata_that_cannot_be_read_are_refused(tmp_path: Path, text: str, words: str) -> None:
    notes = {"lora_adapter_metadata": text}
    message = refused(tmp_path, peft(LINEAR, torch.zeros(2, 64), torch.zeros(64, 2)), notes)
    assert words in message
    assert "download it again" in message


@pytest.mark.parametrize("name", ["nobody/nothing", "nobody/nothing/file.safetensors", "broken"])
def test_a_missing_or_broken_file_says_what_to_do(tmp_path: Path, name: str) -> None:
    if name == "broken":
        name = str(tmp_path / "broken.safetensors")
        Path(name).write_bytes(b"no header")
    with pytest.raises(ModelNotFound, match="hf download"):
        weights(write_tiny_model(tmp_path / "m"), LoraSpec(weights=name))


def test_the_fast_preset_runs_with_a_lora_of_that_kind(tmp_path: Path) -> None:
    """As LCM's is: in kohya's naming, on attention and convolutions alike."""
    model = write_tiny_model(tmp_path / "tiny")
    unet = load_models(EngineSpec(model=str(model), device="cpu", dtype="float32")).unet
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in factors(unet, (LINEAR, OUT, POINTWISE, CONVOLUTION)).items():
        tensors |= kohya(name, 0.1 * down, 0.1 * up)
    save_file(tensors, tmp_path / "lcm.safetensors")
    lora = LoraSpec(weights=str(tmp_path / "lcm.safetensors"))
    params = preset_params("fast", image_size=64, steps=2, inversion_steps=2)
    made = []
    for loras in ((), (lora,)):
        spec = EngineSpec(model=str(model), device="cpu", dtype="float32", loras=loras)
        engine = StyleGallery.load(spec)
        content = engine.prepare(figure_on_ground(64, 64, (1, 0, 0), (0, 0, 1)), params)
        result = engine.stylize(
            content, [content], engine.match(content, [content], params), params
        )
        assert len(result.trace) == 2 * params.optimise.repeats
        made.append(result.picture.pixels)
    assert made[1].isfinite().all()
    assert not torch.equal(*made)
