"""Regions: nothing vanishes, nothing is left without a label, the user's word stands."""

import torch

from schemas.params import StyleParams
from stylegallery.regions.priors import SegmentationPriors
from stylegallery.regions.segmentation import (
    apply_user_labels,
    clean_small_regions,
    segment,
)


def test_small_pieces_join_their_surroundings() -> None:
    labels = torch.zeros(8, 8, dtype=torch.int64)
    labels[:, 4:] = 1
    labels[2, 2] = 5
    labels[6, 6] = 0
    cleaned = clean_small_regions(labels, 3)
    assert cleaned[2, 2] == 0
    assert cleaned[6, 6] == 1
    assert torch.equal(clean_small_regions(labels, 1), labels)


def test_user_labels_win_and_never_vanish() -> None:
    automatic = torch.zeros(8, 8, dtype=torch.int64)
    user = torch.zeros(80, 80, dtype=torch.int64)
    user[0:40] = 1
    user[79, 79] = 2
    labels = apply_user_labels(automatic, user)
    assert (labels[:4] == 1).all()
    assert labels[7, 7] == 2
    assert labels[6, 0] == 0
    assert apply_user_labels(automatic, None) is automatic


def test_segment_separates_what_differs() -> None:
    features = torch.randn(1, 12, 16, 16, generator=torch.Generator().manual_seed(1)) * 0.1
    features[:, :6, 4:12, 4:12] += 3
    latent = torch.zeros(1, 4, 16, 16)
    latent[:, :, 4:12, 4:12] = 2
    semantic = features[:, :6, ::2, ::2]
    regions = segment(features, semantic, latent, StyleParams())
    assert regions.count == 2
    assert (regions.labels[4:12, 4:12] == 1).all()
    assert segment(features, semantic, torch.zeros_like(latent), StyleParams()).count == 1


def square(top: int, left: int, bottom: int, right: int) -> torch.Tensor:
    """A mask (16, 16)."""
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def scene(things: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and a latent that tell what is within a mask from the rest."""
    features = torch.randn(1, 12, 16, 16, generator=torch.Generator().manual_seed(1)) * 0.1
    features[:, :6, things] += 3
    return features, 2.0 * things.expand(1, 4, 16, 16)


def finer(segments: torch.Tensor) -> torch.Tensor:
    return segments.long().repeat_interleave(4, 0).repeat_interleave(4, 1)


def test_outlines_are_those_of_segments_and_kinds_those_of_features() -> None:
    seen = square(3, 1, 7, 6) | square(9, 8, 13, 13)
    first, second = square(3, 2, 8, 7), square(9, 9, 14, 14)
    features, latent = scene(seen)
    priors = SegmentationPriors(segments=finer(1 * first + 4 * second))
    found = segment(features, features, latent, StyleParams(), priors).labels
    (kind,) = found[first | second].unique()
    # what was seen of the things beyond their true outlines may be of either kind
    assert not (found == kind)[~(first | second | seen)].any()


def test_one_segment_over_everything_is_one_region() -> None:
    features, latent = scene(square(4, 4, 12, 12))
    everything = torch.ones(64, 64, dtype=torch.int64)
    priors = SegmentationPriors(segments=everything)
    assert segment(features, features, latent, StyleParams(), priors).count == 1


def test_without_a_mask_segments_change_nothing() -> None:
    features, latent = scene(square(4, 4, 12, 12))
    params, nothing = StyleParams(merge_threshold=0.1), torch.zeros(64, 64, dtype=torch.int64)
    found = segment(features, features, latent, params, SegmentationPriors(segments=nothing))
    assert torch.equal(found.labels, segment(features, features, latent, params).labels)


def test_what_lies_at_two_depths_is_not_one_region() -> None:
    thing, right = square(4, 2, 12, 14), square(0, 8, 16, 16)
    features, latent = scene(thing)
    params = StyleParams(min_region_fraction=0)
    assert segment(features, features, latent, params).count == 2
    found = segment(features, features, latent, params, SegmentationPriors(depth=right.float()))
    for mask in (thing & right, thing & ~right, ~thing & right, ~thing & ~right):
        assert found.labels[mask].unique().numel() == 1
    assert found.count == 4
    near = segment(features, features, latent, params, SegmentationPriors(depth=0.2 * right))
    assert near.count == 2


def test_alike_clusters_do_not_merge_across_depths() -> None:
    thing = square(4, 2, 12, 14)
    features, latent = scene(thing)
    alike = torch.zeros_like(latent)
    assert segment(features, features, alike, StyleParams()).count == 1
    found = segment(features, features, alike, StyleParams(), SegmentationPriors(depth=0.5 * thing))
    assert found.count == 2


def test_the_users_labels_win_over_depth_and_segments() -> None:
    thing, right = square(4, 4, 12, 12), square(0, 8, 16, 16)
    features, latent = scene(thing)
    user = square(2, 6, 9, 15)
    priors = SegmentationPriors(user.long(), right.float(), finer(thing))
    labels = segment(features, features, latent, StyleParams(), priors).labels
    assert torch.equal(labels == labels[8, 8], user)
