"""Clustering and merging of feature tokens."""

import torch

from stylegallery.regions.clustering import cluster, merge_regions, principal_components


def test_clusters_are_found_and_repeat() -> None:
    generator = torch.Generator().manual_seed(0)
    centers = torch.tensor([[0.0, 0, 0], [8, 0, 0], [0, 8, 0]])
    truth = torch.arange(3).repeat_interleave(60)
    tokens = centers[truth] + torch.randn(180, 3, generator=generator) * 0.3
    labels = cluster(principal_components(tokens), 6)
    assert len({*zip(truth.tolist(), labels.tolist(), strict=True)}) == 3
    assert torch.equal(labels, cluster(principal_components(tokens), 6))


def test_merging_is_transitive() -> None:
    latents = torch.tensor([[0.0], [0.5], [1.0], [9.0]]).expand(4, 4) / 2
    labels = torch.arange(4)
    assert len(merge_regions(labels, latents, 0.6).unique()) == 2
    assert len(merge_regions(labels, latents, 0.4).unique()) == 4
