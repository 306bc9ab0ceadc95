"""LPIPS and CSD from files in the published layouts; the weights themselves are random here."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from schemas.evaluation import ExternalWeights
from stylegallery.errors import ModelNotFound
from stylegallery.metrics.external import Lpips, StyleDescriptors
from stylegallery.metrics.item import MetricSuite
from tests.stylegallery.metrics.spoiling import AMOUNTS, WAYS, other, photo

SHAPES = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision's."""
    dice = torch.Generator().manual_seed(0)
    state = {}
    for number, (out, into, side) in SHAPES.items():
        scale = (into * side * side) ** -0.5
        weight = torch.randn(out, into, side, side, generator=dice) * scale
        state[f"features.{number}.weight"], state[f"features.{number}.bias"] = (
            weight,
            torch.zeros(out),
        )
    state["classifier.1.weight"] = torch.zeros(3, 3)  # more than is needed
    place = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(state, place)
    return place


@pytest.fixture(scope="module")
def clip() -> CLIPVisionModel:
    """A small network of the same kind."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=1,
        patch_size=32, image_size=224, hidden_act="quick_gelu",
    )  # fmt: skip
    return CLIPVisionModel(config).eval()


@pytest.fixture(scope="module")
def csd(clip: CLIPVisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights in a file as the authors' checkpoint: OpenAI's names, q, k and v in one."""
    own = {name.removeprefix("vision_model."): value for name, value in clip.state_dict().items()}
    state = {
        "class_embedding": own["embeddings.class_embedding"],
        "conv1.weight": own["embeddings.patch_embedding.weight"],
        "positional_embedding": own["embeddings.position_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        state[f"ln_pre.{kind}"] = own[f"pre_layrnorm.{kind}"]
        state[f"ln_post.{kind}"] = own[f"post_layernorm.{kind}"]
        for n in range(2):
            layer, block = f"encoder.layers.{n}", f"transformer.resblocks.{n}"
            parts = [own[f"{layer}.self_attn.{name}_proj.{kind}"] for name in "qkv"]
            state[f"{block}.attn.in_proj_{kind}"] = torch.cat(parts)
            state[f"{block}.attn.out_proj.{kind}"] = own[f"{layer}.self_attn.out_proj.{kind}"]
            state[f"{block}.ln_1.{kind}"] = own[f"{layer}.layer_norm1.{kind}"]
            state[f"{block}.ln_2.{kind}"] = own[f"{layer}.layer_norm2.{kind}"]
            state[f"{block}.mlp.c_fc.{kind}"] = own[f"{layer}.mlp.fc1.{kind}"]
            state[f"{block}.mlp.c_proj.{kind}"] = own[f"{layer}.mlp.fc2.{kind}"]
    named = {f"module.backbone.{name}": value for name, value in state.items()}
    named["module.last_layer_style"] = torch.eye(64)
    place = tmp_path_factory.mktemp("csd") / "checkpoint.pth"
    torch.save({"model_state_dict": named, "epoch": 3}, place)
    return place


def test_lpips_is_nothing_for_the_same_and_grows(alexnet: Path) -> None:
    lpips = Lpips(alexnet)
    found = [lpips(WAYS["noise"](photo(), amount), photo()) for amount in AMOUNTS]
    assert lpips(photo(), photo()) == 0
    assert 0 < found[0] < found[1] < found[2]
    assert lpips(other(), photo()) == pytest.approx(lpips(photo(), other()), rel=1e-5)


def test_a_descriptor_is_what_the_network_makes_of_the_middle(
    csd: Path, clip: CLIPVisionModel
) -> None:
    describe = StyleDescriptors(csd).describe
    square = torch.nn.functional.interpolate(
        photo(), (224, 280), mode="bicubic", antialias=True
    ).clamp(0, 1)[..., 28:252]
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    with torch.no_grad():
        pooled = clip(pixel_values=(square - mean) / std).pooler_output
    assert torch.allclose(describe(photo()), torch.nn.functional.normalize(pooled), atol=1e-5)


def test_both_are_among_the_metrics_when_they_are_given(alexnet: Path, csd: Path) -> None:
    suite = MetricSuite(ExternalWeights(lpips=str(alexnet), csd=str(csd)))
    references = [suite.reference_features(photo()), suite.reference_features(other(), weight=3)]
    metrics = suite.score(other(), photo(), references, []).metrics
    assert metrics["lpips"] > 0
    apart = float(
        (suite.reference_features(photo()).style * suite.reference_features(other()).style).sum()
    )
    assert metrics["csd"] == pytest.approx((apart + 3) / 4, abs=1e-5)
    assert not {"lpips", "csd"} & set(
        MetricSuite().score(other(), photo(), references[:1], []).metrics
    )


@pytest.mark.parametrize("load", [Lpips, StyleDescriptors])
def test_what_is_no_such_file_is_refused_in_a_sentence(load: type, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="is no file; give"):
        load(tmp_path / "gone.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(ModelNotFound, match="cannot be read as weights"):
        load(tmp_path / "text.pth")
    torch.save({"something": torch.zeros(2)}, tmp_path / "else.pth")
    with pytest.raises(ModelNotFound, match="holds no"):
        load(tmp_path / "else.pth")


def test_objects_in_a_file_are_not_made(tmp_path: Path) -> None:
    torch.save({"evil": Path("x")}, tmp_path / "evil.pth")
    with pytest.raises(ModelNotFound, match="cannot be read as weights"):
        Lpips(tmp_path / "evil.pth")
