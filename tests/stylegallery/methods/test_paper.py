"""The published functions: the authors' own figures first, then the corners they leave open."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler

from stylegallery.guidance.energies import RegionAttention, style_energy, style_target
from stylegallery.methods import paper

# Outputs of the published code on random inputs; merging has every fourth row of its map.
FIGURES = Path(__file__).parent / "figures" / "published.npz"
SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
AS_PUBLISHED = {**SCHEDULE, "steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}


@pytest.fixture(scope="module")
def figures() -> dict[str, torch.Tensor]:
    with np.load(FIGURES, allow_pickle=False) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(
        first.double(), second.double(), rtol=0, atol=1e-5
    )


# --- Weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [5, 15, 20])
def test_timestep_weights(figures: dict[str, torch.Tensor], steps: int) -> None:
    assert same(paper.timestep_weights(steps), figures[f"timestep_weights_{steps}"])


def test_one_step_has_all_the_weight() -> None:
    assert paper.timestep_weights(1).tolist() == [1.0]


# --- Merging -----------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", ["0.35", "0.5", "0.85"])
def test_merging(figures: dict[str, torch.Tensor], threshold: str) -> None:
    labels, latent = figures["merge_labels"], figures["merge_latent"].float()
    merged = paper.merge_regions(labels, latent, float(threshold))
    assert merged.dtype == torch.int64
    assert torch.equal(merged, figures[f"merge_out_{threshold}"].long())
    for other in (latent[None], latent.flatten(1).T):
        assert torch.equal(merged, paper.merge_regions(labels, other, float(threshold)))
    flat = paper.merge_regions(labels.flatten(), latent, float(threshold))
    assert torch.equal(merged.flatten(), flat)


def test_merging_under_the_depth_lock(figures: dict[str, torch.Tensor]) -> None:
    latent, depth = figures["merge_latent"].float(), figures["merge_depth"]
    merged = paper.merge_regions(figures["merge_labels"], latent, 0.85, depth, 0.3)
    assert torch.equal(merged, figures["merge_out_depth_0.85_0.3"].long())


def test_merging_is_transitive_and_keeps_the_first_means() -> None:
    # 0.8 from 7 to 3 and from 3 to 9; what 7 and 3 make together lies 1.2 from 9.
    labels = torch.tensor([7, 3, 9, 5])
    latents = torch.tensor([[0.0], [0.8], [1.6], [9.0]])
    assert paper.merge_regions(labels, latents, 0.81).tolist() == [0, 0, 0, 1]
    assert paper.merge_regions(labels, latents, 0.79).tolist() == [2, 0, 3, 1]


def test_a_distance_equal_to_the_threshold_does_not_merge() -> None:
    labels, latents = torch.tensor([0, 1]), torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert paper.merge_regions(labels, latents, 5.0).tolist() == [0, 1]
    assert paper.merge_regions(labels, latents, 5.01).tolist() == [0, 0]
    depth = torch.tensor([0.25, 0.5])
    assert paper.merge_regions(labels, latents, 9.0, depth, 0.25).tolist() == [0, 1]
    assert paper.merge_regions(labels, latents, 9.0, depth, 0.26).tolist() == [0, 0]


def test_the_depth_lock_holds_pair_by_pair() -> None:
    labels = torch.tensor([[0, 1], [2, 3]])
    latents = torch.tensor([0.0, 0.1, 0.2, 9.0]).view(1, 1, 2, 2)
    depth = torch.tensor([[0.0, 0.5, 0.25, 0.25]]).view(2, 2)
    assert paper.merge_regions(labels, latents, 1.0, depth, 0.3).tolist() == [[0, 0], [0, 1]]
    assert paper.merge_regions(labels, latents, 0.15, depth, 0.3).tolist() == [[0, 1], [1, 2]]
    assert paper.merge_regions(labels, latents, 1.0, depth).tolist() == [[0, 0], [0, 1]]
    assert paper.merge_regions(labels, latents, 1.0, depth, 0.1).tolist() == [[0, 1], [2, 3]]


def test_one_region_stays_one() -> None:
    assert paper.merge_regions(torch.full((2, 2), 4), torch.randn(4, 2, 2), 0.5).eq(0).all()


# --- Splitting by depth ------------------------------------------------------------------------


def test_splitting_by_depth(figures: dict[str, torch.Tensor]) -> None:
    labels, depth = figures["depth_split_labels"], figures["depth_split_depth"]
    split = paper.split_by_depth(labels, depth, 0.75)
    expected = figures["depth_split_out"].long()
    pairs = {*zip(split.flatten().tolist(), expected.flatten().tolist(), strict=True)}
    assert len(pairs) == len(split.unique()) == len(expected.unique()) == 6
    flat = paper.split_by_depth(labels.flatten(), depth, 0.75)
    assert torch.equal(flat, split.flatten())
    assert torch.equal(paper.split_by_depth(labels, depth, 0.95), labels.long())


@pytest.mark.parametrize(("cells", "parts"), [(19, 1), (20, 2)])
def test_few_cells_are_not_split(cells: int, parts: int) -> None:
    depth = torch.linspace(0, 1, cells)
    assert len(paper.split_by_depth(torch.zeros(cells), depth, 0.5).unique()) == parts


def test_the_span_is_interpolated_between_cells() -> None:
    labels, depth = torch.zeros(20), torch.linspace(0, 1, 20).flip(0)
    assert len(paper.split_by_depth(labels, depth, 0.899).unique()) == 2
    assert len(paper.split_by_depth(labels, depth, 0.901).unique()) == 1
    # Here the span is just 0.75: it is split from there on, not above it only.
    depth = torch.tensor([0.125] * 10 + [0.875] * 10)
    assert len(paper.split_by_depth(labels, depth, 0.75).unique()) == 2


@pytest.mark.parametrize("cells", range(20, 40))
def test_two_planes_part_whichever_cells_the_start_draws(cells: int) -> None:
    depth = (torch.arange(cells) % 2).float()
    split = paper.split_by_depth(torch.full((cells,), 3), depth, 0.75)
    assert split.unique().tolist() == [3, 4]
    assert len(split[depth > 0.5].unique()) == len(split[depth < 0.5].unique()) == 1


def test_only_deep_regions_are_split_and_new_numbers_follow_the_largest() -> None:
    labels = torch.tensor([2, 6, 9]).repeat_interleave(40).view(3, 40)
    depth = torch.rand(3, 40, generator=torch.Generator().manual_seed(3))
    depth[1] *= 0.3
    split = paper.split_by_depth(labels, depth, 0.75)
    assert [row.unique().tolist() for row in split] == [[2, 10], [6], [9, 11]]
    for row in (0, 2):
        old, new = (depth[row][split[row] == value] for value in split[row].unique())
        assert old.max() < new.min() or new.max() < old.min()
    flat = paper.split_by_depth(labels, torch.full((3, 40), 0.5), 0.0)
    assert torch.equal(flat, labels)


def test_splitting_leaves_global_randomness_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    paper.split_by_depth(torch.zeros(40), torch.linspace(0, 1, 40), 0.5)
    assert torch.equal(torch.rand(1), expected)


# --- Circles -----------------------------------------------------------------------------------


def test_region_circle(figures: dict[str, torch.Tensor]) -> None:
    for points in (figures["circle_points"].long(), figures["circle_points"].float()):
        centre, radius = paper.region_circle(points)
        assert same(torch.cat([centre, radius[None]]), figures["circle"])
        assert centre.dtype == radius.dtype == torch.float32


def test_a_single_point_has_no_extent() -> None:
    centre, radius = paper.region_circle(torch.tensor([[3, 5]]))
    assert centre.tolist() == [3, 5]
    assert radius == 0


def test_the_circle_is_not_the_smallest_enclosing_one() -> None:
    centre, radius = paper.region_circle(torch.tensor([[0.0, 0], [0, 0], [3, 0]]).double())
    assert centre.tolist() == [1, 0]
    assert radius == 2
    assert centre.dtype == torch.float64


def test_circle_iou(figures: dict[str, torch.Tensor]) -> None:
    for x1, y1, radius1, x2, y2, radius2, expected in figures["circle_iou"].tolist():
        iou = paper.circle_iou([x1, y1], radius1, [x2, y2], radius2)
        tensors = paper.circle_iou(
            torch.tensor([x1, y1]), torch.tensor(radius1), torch.tensor([x2, y2]), radius2
        )
        assert iou.shape == ()
        assert float(iou) == pytest.approx(expected, abs=1e-5)
        assert float(tensors) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("radius1", "gap", "radius2", "expected"),
    [
        (2, 0, 2, 1.0),  # the same
        (3, 1, 1, 1 / 9),  # contained
        (1, 1, 3, 1 / 9),
        (3, 2, 1, 1 / 9),  # touching from inside
        (3, 4, 1, 0.0),  # touching from outside
        (3, 9, 1, 0.0),  # apart
        (3, 1, 0, 0.0),  # a point inside
        (0, 0, 0, 0.0),
        (1, 1, 1, (4 * np.pi - 3 * 3**0.5) / (8 * np.pi + 3 * 3**0.5)),
    ],
)
def test_circle_corners(radius1: float, gap: float, radius2: float, expected: float) -> None:
    iou = paper.circle_iou([5.0, 5.0], radius1, [5.0, 5.0 + gap], radius2)
    assert float(iou) == pytest.approx(expected, abs=1e-6)


# --- Losses ------------------------------------------------------------------------------------


def loss_inputs(figures: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {
        "query": figures["loss_q"].clone(),
        "key": figures["loss_k"].clone(),
        "value": figures["loss_v"].clone(),
        "output": figures["loss_out"].clone(),
        "content_mask": figures["loss_content_mask"],
        "style_mask": figures["loss_style_mask"],
        "scale": 1.5,
    }


def test_style_loss_and_its_gradient(figures: dict[str, torch.Tensor]) -> None:
    inputs = loss_inputs(figures)
    for name in ("query", "key", "value", "output"):
        inputs[name].requires_grad_()
    loss = paper.style_loss(**inputs)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(figures["losses"][0]), abs=1e-5)
    gradient = inputs["output"].grad
    assert (gradient - figures["style_loss_grad"]).abs().max() < 1e-8
    assert all(inputs[name].grad is None for name in ("query", "key", "value"))


def test_masks_of_any_kind_do(figures: dict[str, torch.Tensor]) -> None:
    inputs = loss_inputs(figures)
    expected = paper.style_loss(**inputs)
    for kind in (torch.bool, torch.int64, torch.float32):
        inputs["content_mask"] = figures["loss_content_mask"].to(kind)[None, None]
        inputs["style_mask"] = figures["loss_style_mask"].to(kind).flatten()
        assert torch.equal(paper.style_loss(**inputs), expected)


def test_coarser_layers_see_every_second_row_and_column(figures: dict[str, torch.Tensor]) -> None:
    inputs = loss_inputs(figures)
    expected = paper.style_loss(**inputs)
    for name in ("content_mask", "style_mask"):
        finer = torch.full((16, 16), 1)
        finer[::2, ::2] = inputs[name]
        inputs[name] = finer
    assert torch.equal(paper.style_loss(**inputs), expected)
    # A thin region is gone from the coarser layer, and with it the whole target (W3).
    inputs["style_mask"] = torch.zeros(16, 16)
    inputs["style_mask"][:, 5] = 1
    inputs["content_mask"] = torch.ones(8, 8)
    assert float(paper.style_loss(**inputs)) == pytest.approx(float(inputs["output"].abs().mean()))


def test_an_empty_region_leaves_a_floor_without_gradient(
    figures: dict[str, torch.Tensor],
) -> None:
    inputs = loss_inputs(figures)
    inputs["content_mask"] = torch.zeros(8, 8)
    output = inputs["output"].requires_grad_()
    loss = paper.style_loss(**inputs)
    loss.backward()
    kept = inputs["value"] * figures["loss_style_mask"].view(64, 1)
    assert float(loss.detach()) == pytest.approx(float(kept.mean(dim=2).abs().mean()), abs=1e-6)
    assert output.grad is not None
    assert output.grad.eq(0).all()


def test_the_reference_may_have_another_grid() -> None:
    query, output = torch.randn(2, 1, 2, 16, 4, generator=torch.Generator().manual_seed(0))
    value = torch.ones(1, 2, 36, 4)
    mask = torch.arange(36).view(6, 6) < 9
    # Equal keys: every query finds the share of ones that the mask leaves.
    loss = paper.style_loss(
        query, torch.zeros_like(value), value, output * 0, torch.ones(4, 4), mask, 1.5
    )
    assert float(loss) == pytest.approx(0.25)


@pytest.mark.parametrize(("sigma", "expected"), [(1.0, 0.153), (2.0, 0.457)])
def test_multiplied_masks_dilute_the_target(sigma: float, expected: float) -> None:
    # Masks that multiply: 4096 keys of 40 channels, a region of 10 %, logits of deviation sigma.
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 1, 256, 40, generator=generator)
    key, value = torch.randn(2, 1, 1, 4096, 40, generator=generator)
    own = torch.zeros_like(query)
    region = torch.rand(4096, generator=generator).argsort() < 410
    diluted = paper.style_loss(query, key, value, own, torch.ones(16, 16), region, sigma)
    routing = RegionAttention.build(
        torch.tensor([[-torch.inf, 0.0]]), torch.zeros(256, dtype=torch.int64), region.long()
    )
    exact = style_energy(own, style_target(query, key, value, own, routing, sigma))
    assert float(diluted / exact) == pytest.approx(expected, rel=0.04)


def test_content_loss(figures: dict[str, torch.Tensor]) -> None:
    loss = paper.content_loss(figures["loss_q"], figures["loss_qc"])
    assert float(loss) == pytest.approx(float(figures["losses"][1]), abs=1e-5)


# --- Latents -----------------------------------------------------------------------------------


def test_remove_style(figures: dict[str, torch.Tensor]) -> None:
    latent, expected = figures["remove_style_in"], figures["remove_style_out"]
    assert same(paper.remove_style(latent), expected)
    assert same(paper.remove_style(latent[0]), expected[0])
    assert paper.remove_style(torch.full((1, 4, 2, 2), 3.0)).eq(0).all()


def noise(latent: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    return 0.1 * latent + 1e-5 * timestep


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler(**AS_PUBLISHED),
        DDIMScheduler(**AS_PUBLISHED).config,
        DDIMInverseScheduler(**AS_PUBLISHED),
        AS_PUBLISHED,
        DDIMScheduler(**SCHEDULE, steps_offset=1),  # diffusers' default is to clip
        DDIMScheduler(**AS_PUBLISHED, prediction_type="v_prediction"),
    ],
    ids=["sampling", "config", "inverse", "dict", "clipping", "velocity"],
)
def test_inversion(figures: dict[str, torch.Tensor], scheduler: Any) -> None:
    seen: list[int] = []

    def observed(latent: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        seen.append(int(timestep))
        return noise(latent, timestep)

    trajectory = paper.invert(figures["ddim_inversion_in"], observed, scheduler, 15)
    assert same(trajectory, figures["ddim_inversion_out"])
    assert seen == figures["ddim_inversion_timesteps"].tolist()


def test_inversion_of_one_step_is_its_formula() -> None:
    latent = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    alphas = DDIMScheduler(**AS_PUBLISHED).alphas_cumprod
    trajectory = paper.invert(latent, noise, AS_PUBLISHED, 1)
    predicted = noise(latent, torch.tensor(1))
    clean = (latent - (1 - alphas[0]).sqrt() * predicted) / alphas[0].sqrt()
    expected = alphas[1].sqrt() * clean + (1 - alphas[1]).sqrt() * predicted
    assert same(trajectory, expected[None].detach())
    assert not trajectory.requires_grad


# --- Label maps --------------------------------------------------------------------------------


def test_cleaning(figures: dict[str, torch.Tensor]) -> None:
    labels, expected = figures["small_regions_in"], figures["small_regions_out"].long()
    assert torch.equal(paper.clean_small_regions(labels, 20), expected)
    assert torch.equal(paper.clean_small_regions(labels.flatten(), 20), expected.flatten())


def test_pieces_of_just_enough_cells_stay() -> None:
    labels = torch.zeros(6, 6, dtype=torch.int64)
    labels[2:4, 2:4] = 1
    assert torch.equal(paper.clean_small_regions(labels, 4), labels)
    assert paper.clean_small_regions(labels, 5).eq(0).all()
    assert labels.sum() == 4


def test_corners_do_not_join_pieces_nor_vote() -> None:
    labels = torch.tensor([[0, 7, 7, 7], [7, 0, 7, 7], [7, 7, 7, 7], [7, 7, 7, 7]])
    assert paper.clean_small_regions(labels, 2).eq(7).all()
    # Three 4s beside the 5 and five 3s if corners counted.
    labels = torch.tensor([[3, 4, 3], [4, 5, 4], [3, 3, 3]])
    assert paper.clean_small_regions(labels, 2)[1, 1] == 4


def test_negative_labels_are_pieces_like_any_other() -> None:
    labels = torch.tensor([[-1, 3, 3, 3, -1]])
    assert paper.clean_small_regions(labels, 2).tolist() == [[3, 3, 3, 3, 3]]


def test_of_equally_frequent_neighbours_the_smallest_label_wins() -> None:
    labels = torch.tensor([[9, 9, 9, 9, 5, 2, 2, 2, 2]])
    assert paper.clean_small_regions(labels, 2)[0, 4] == 2
    assert paper.clean_small_regions(labels.flip(1), 2)[0, 4] == 2


def test_small_neighbours_swap_in_the_single_pass() -> None:
    labels = torch.tensor([[1, 2]])
    assert paper.clean_small_regions(labels, 2).tolist() == [[2, 1]]


def test_a_map_of_one_small_piece_stays() -> None:
    for value in (-1, 0, 3):
        labels = torch.full((3, 3), value)
        assert torch.equal(paper.clean_small_regions(labels, 20), labels)


def test_user_mask(figures: dict[str, torch.Tensor]) -> None:
    labels, mask = figures["user_mask_labels_in"], figures["user_mask"]
    expected = figures["user_mask_labels_out"].long()
    assert torch.equal(paper.apply_user_mask(labels, mask), expected)
    assert torch.equal(paper.apply_user_mask(labels.flatten(), mask), expected.flatten())
    assert torch.equal(paper.apply_user_mask(labels, mask.long()[None]), expected)


def test_colours_count_in_order_of_first_appearance() -> None:
    mask = torch.zeros(2, 3, 3, dtype=torch.uint8)
    mask[0, 1] = torch.tensor([255, 0, 9], dtype=torch.uint8)
    mask[0, 2] = mask[1, 1] = torch.tensor([0, 0, 128], dtype=torch.uint8)
    labels = torch.tensor([[4, 4, 4], [1, 1, 1]])
    assert paper.apply_user_mask(labels, mask).tolist() == [[4, 5, 6], [1, 6, 1]]


def test_user_labels_are_resized_by_nearest_neighbour() -> None:
    mask = torch.zeros(8, 12, dtype=torch.int64)
    mask[:, 1] = 3  # between the columns that remain
    mask[4:, :3] = 8
    mask[4, 1] = 3
    mask[0, 6:] = 5
    labels = torch.zeros(2, 4, dtype=torch.int64)
    assert paper.apply_user_mask(labels, mask).tolist() == [[0, 0, 1, 1], [2, 0, 0, 0]]


def test_an_empty_user_mask_changes_nothing() -> None:
    labels = torch.tensor([[0, 5], [2, 2]])
    assert torch.equal(paper.apply_user_mask(labels, torch.zeros(2, 2)), labels)
    assert torch.equal(paper.apply_user_mask(labels, torch.zeros(4, 4, 3)), labels)
