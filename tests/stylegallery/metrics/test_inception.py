"""The network of FID over art: a file in the published layout; the weights are random here."""

from pathlib import Path

import pytest
import torch

from stylegallery.errors import ModelNotFound
from stylegallery.metrics.inception import ArtInception
from tests.stylegallery.metrics.inception_file import inception_state, write_inception
from tests.stylegallery.metrics.spoiling import photo

TORCHVISION = [0.0362, 0.0233, 0.5545, 0.6575, 0.0065, 1.2443]
"""Every 400th number that `Inception3` of torchvision 0.28.0 has before its classifier, for the
same weights and picture; its mean is 0.86233."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inception(tmp_path_factory.mktemp("inception") / "art_inception.pth")


def test_it_computes_what_torchvisions_network_computes(weights: Path) -> None:
    found = ArtInception(weights).describe(photo())
    assert found.shape == (1, 2048)
    assert found[0, ::400].tolist() == pytest.approx(TORCHVISION, abs=2e-4)
    assert float(found.mean()) == pytest.approx(0.86233, abs=1e-4)


def test_it_is_found_in_the_cache_of_the_hub(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = tmp_path / "models--someone--art_inception"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    kept = repo / "snapshots" / ("0" * 40) / "art_inception.pth"
    kept.parent.mkdir(parents=True)
    kept.symlink_to(weights)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    ArtInception("someone/art_inception/art_inception.pth")
    with pytest.raises(ModelNotFound, match=r"someone/other/x.pth is no file; give"):
        ArtInception("someone/other/x.pth")


def test_what_is_no_such_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no file; give ArtFID's art_inception.pth"):
        ArtInception(tmp_path / "none.pth")
    state = inception_state()
    state["Mixed_5b.branch1x1.conv.weight"] = torch.zeros(64, 3, 1, 1)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(ModelNotFound, match=r"bad.pth holds no Inception v3"):
        ArtInception(tmp_path / "bad.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelNotFound, match="Conv2d_1a_3x3"):
        ArtInception(tmp_path / "other.pth")
