"""CFSD from a file as torchvision's; the weights themselves are random here."""

import math
from pathlib import Path

import pytest
import torch

from schemas.evaluation import ExternalWeights
from stylegallery.errors import ModelNotFound
from stylegallery.metrics import cfsd
from stylegallery.metrics.cfsd import Cfsd, similarity_divergence
from stylegallery.metrics.item import MetricSuite
from tests.stylegallery.metrics.spoiling import other, photo

SHAPES = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128)}


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dice = torch.Generator().manual_seed(0)
    state = {"classifier.0.weight": torch.zeros(3, 3)}  # more than is needed
    for number, (out, into) in SHAPES.items():
        weight = torch.randn(out, into, 3, 3, generator=dice)
        state[f"features.{number}.weight"] = weight * (2 / (9 * into)) ** 0.5
        state[f"features.{number}.bias"] = torch.zeros(out)
    place = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state, place)
    return place


def tokens(seed: int, count: int = 40, width: int = 6) -> torch.Tensor:
    return 5 * torch.rand((count, width), generator=torch.Generator().manual_seed(seed))


def test_the_same_tokens_have_no_distance_and_others_one_that_depends_on_the_order() -> None:
    one, another = tokens(0), tokens(1)
    assert similarity_divergence(one, one) == 0
    there, back = similarity_divergence(one, another), similarity_divergence(another, one)
    assert there > 0
    assert back > 0
    assert there != pytest.approx(back, rel=0.01)


def test_three_tokens_by_hand() -> None:
    """Two equal tokens and a third: similarities are 1 and 0, after division by the width."""
    one = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    even = torch.zeros((3, 2))
    weights = (math.e, math.e, 1.0), (math.e, math.e, 1.0), (1.0, 1.0, math.e)
    expected = 0.0
    for row in weights:
        shares = [value / sum(row) for value in row]
        expected += sum(share * math.log(share * 3) for share in shares)
    assert similarity_divergence(one, even) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 40, 1000])
def test_rows_at_a_time_do_not_matter(rows: int) -> None:
    whole = similarity_divergence(tokens(0), tokens(1))
    assert similarity_divergence(tokens(0), tokens(1), rows) == pytest.approx(whole, rel=1e-5)


def test_the_order_of_the_tokens_does_not_matter() -> None:
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    whole = similarity_divergence(tokens(0), tokens(1))
    assert similarity_divergence(tokens(0)[order], tokens(1)[order]) == pytest.approx(
        whole, rel=1e-5
    )


def test_a_weight_file_adds_the_metric(vgg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cfsd, "_SIDE", 64)  # the size of the measurement alone takes many seconds
    distance = Cfsd(vgg)
    assert distance(photo(), photo()) == 0
    suite = MetricSuite(ExternalWeights(cfsd=str(vgg)))
    found = suite.score(other(), photo(), [suite.reference_features(other())], [])
    assert found.metrics["cfsd"] == pytest.approx(distance(other(), photo()))
    assert found.metrics["cfsd"] > 0


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelNotFound, match="holds no VGG19"):
        Cfsd(tmp_path / "other.pth")
    with pytest.raises(ModelNotFound, match=r"vgg19-dcbb9e9d\.pth"):
        Cfsd(tmp_path / "missing.pth")
