"""Batches are determined by seed and step, and held-out pictures stay out of them."""

from pathlib import Path

import torch
from PIL import Image

from stylegallery.training.data import Mixture, PictureSource, is_held_out, load_folders
from stylegallery.training.patterns import draw


def test_batches_follow_seed_and_step() -> None:
    mixture = Mixture([PictureSource("a", [draw(i, 80) for i in range(3)], 1.0)], patterns=0.5)
    assert torch.equal(mixture.batch(1, 7, 4, 32), mixture.batch(1, 7, 4, 32))
    assert not torch.equal(mixture.batch(1, 7, 4, 32), mixture.batch(1, 8, 4, 32))


def test_held_out_pictures_do_not_train(tmp_path: Path) -> None:
    for i in range(20):
        Image.new("RGB", (100 + i, 60), (i, 0, 0)).save(tmp_path / f"{i}.png")
    train, test = load_folders([tmp_path], 48, 0.2)
    names = [is_held_out(tmp_path / f"{i}.png", 0.2) for i in range(20)]
    assert (len(train), len(test)) == (20 - sum(names), sum(names))
    assert sum(names) > 0
    assert all(min(p.shape[:2]) == 48 for p in train + test)
