"""Like goes to like, whatever the order of the references; the user's word stands."""

import json

import pytest
import torch

from schemas.params import StyleParams
from stylegallery.errors import BadRouting
from stylegallery.matching.correspondence import Pin, parse_pins
from stylegallery.matching.matching import match, match_whole, transport_log_weights, transport_plan
from stylegallery.regions.descriptors import Descriptors, circle_iou, describe, region_circle
from stylegallery.regions.region_map import RegionMap

HARD = StyleParams(routing="hard")


def described(labels: torch.Tensor, seed: int) -> Descriptors:
    """Describe regions by features that say which label a cell has: 0 ground, 1 figure, ..."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.eye(6)[labels].permute(2, 0, 1)[None]
    semantic = kinds + 0.05 * torch.randn(kinds.shape, generator=generator)
    return describe(RegionMap.numbered(labels), semantic, semantic * 2)


def framed(figure: int = 1, ground: int = 0) -> torch.Tensor:
    labels = torch.full((12, 12), ground)
    labels[3:9, 3:9] = figure
    return labels


@pytest.mark.parametrize("routing", ["soft", "hard"])
def test_figure_goes_to_figure(routing: str) -> None:
    params = StyleParams(routing=routing)
    content, style = described(framed(), 0), described(framed(), 1)
    found = match(content, [style], params)
    assert found.best.tolist() == [0, 1]
    rows = found.rows(["ref"])
    assert [row.style_region for row in rows] == [0, 1]
    assert abs(sum(row.area for row in rows) - 1) < 1e-5
    assert all(row.fallback == "none" and not row.pinned for row in rows)


def test_contact_says_how_much_of_the_border_a_region_holds() -> None:
    corner = torch.zeros(12, 12, dtype=torch.int64)
    corner[:6, :6] = 1  # a quarter of the border as of the picture
    corner[11, 11] = 2  # 1 of 44 cells of the border, but of 144 of the picture: capped
    assert described(corner, 0).contact.tolist() == pytest.approx([1.0, 32 / 44 / (107 / 144), 2.0])
    assert described(framed(), 0).contact[1] == 0


@pytest.mark.parametrize("routing", ["soft", "hard"])
def test_where_all_looks_alike_figure_still_goes_to_figure(routing: str) -> None:
    same = torch.ones(1, 4, 12, 12)
    content, style = (
        describe(RegionMap.numbered(labels), same, same) for labels in (framed(), framed(0, 1))
    )
    params = StyleParams(routing=routing, geometric_weight=0)
    assert match(content, [style], params).best.tolist() == [0, 1]
    assert style.contact[0] > style.contact[1]


def test_order_of_references_does_not_matter() -> None:
    content = described(framed(1, 0), 0)
    styles = [described(framed(1, 2), 1), described(framed(3, 0), 2)]
    one = match(content, styles, HARD).rows(["a", "b"])
    two = match(content, styles[::-1], HARD).rows(["b", "a"])
    assert [(r.style_id, r.style_region) for r in one] == [
        (r.style_id, r.style_region) for r in two
    ]
    assert {r.style_id for r in one} == {"a", "b"}


def test_hard_routing_allows_one_style_region_each() -> None:
    found = match(described(framed(), 0), [described(framed(), 1), described(framed(), 2)], HARD)
    assert (found.log_weights.isfinite().sum(dim=1) == 1).all()
    assert found.log_weights.gather(1, found.best[:, None]).eq(0).all()


def test_pins_win_over_everything() -> None:
    found = match(
        described(framed(), 0), [described(framed(), 1)], StyleParams(), pins=[Pin(1, 0, 0)]
    )
    assert found.best[1] == 0
    assert found.pinned.tolist() == [False, True]
    assert found.log_weights[1].tolist() == [0.0, -torch.inf]
    second = [described(framed(), 1), described(framed(), 2)]
    found = match(described(framed(), 0), second, StyleParams(), pins=[Pin(1, 1, 0)])
    assert found.locate(int(found.best[1])) == (1, 0)
    with pytest.raises(BadRouting, match="regions 0 to 1"):
        match(described(framed(), 0), [described(framed(), 1)], HARD, pins=[Pin(7, 0, 0)])
    with pytest.raises(BadRouting, match=r"region 5 of reference 0 .* 0 to 1; its region map"):
        match(described(framed(), 0), [described(framed(), 1)], HARD, pins=[Pin(0, 0, 5)])


def test_routing_file_round_trip_and_its_errors() -> None:
    found = match(described(framed(), 0), [described(framed(), 1)], HARD)
    text = found.to_json(["ref"])
    assert parse_pins(text, ["other", "ref"]) == [Pin(0, 1, 0), Pin(1, 1, 1)]
    with pytest.raises(BadRouting, match="'ref', which the gallery lacks"):
        parse_pins(text, ["other"])
    for broken in ["nonsense", "[]", json.dumps({"matches": [{"region": 0}]})]:
        with pytest.raises(BadRouting, match="not valid"):
            parse_pins(broken, ["ref"])


def test_gate_and_its_fallbacks() -> None:
    content, style = described(framed(), 0), described(framed(), 1)
    for fallback, finite in [("global", True), ("content", False)]:
        strict = StyleParams(min_similarity=9, fallback=fallback)
        found = match(content, [style], strict)
        assert found.fallback == (fallback, fallback)
        assert found.log_weights.isfinite().all() == finite


def test_attention_distillation_ignores_regions_but_not_weights() -> None:
    content, style = described(framed(), 0), described(framed(), 1)
    even = match_whole(content, [style, style])
    assert even.log_weights.eq(0).all()
    tilted = match_whole(content, [style, style], weights=[3.0, 1.0])
    assert torch.allclose(
        tilted.log_weights[0, 0] - tilted.log_weights[0, 2], torch.tensor(3.0).log()
    )


@pytest.mark.parametrize("gate", [-1.0, 9.0])
def test_weights_of_references_tilt_soft_routing_and_its_fallback(gate: float) -> None:
    """Twins share what they are matched with, and a region's attention, as their weights say."""
    params = StyleParams(min_similarity=gate)
    content, style = described(framed(), 0), described(framed(), 1)
    tilted = match(content, [style, style], params, weights=[3.0, 1.0])
    for table in (tilted.log_weights, tilted.unrouted().log_weights):
        first, second = table.exp().split(tilted.style_regions, dim=1)
        assert torch.allclose(first, 3 * second, rtol=1e-3)


def test_unrouted_keeps_what_is_forbidden() -> None:
    content, style = described(framed(), 0), described(framed(), 1)
    found = match(content, [style], StyleParams(), pins=[Pin(0, 0, 1)])
    assert found.log_weights[1].unique().numel() > 1
    assert found.unrouted().log_weights.tolist() == [[-torch.inf, 0.0], [0.0, 0.0]]


def test_transport_uses_every_reference_region_by_its_area() -> None:
    similarity = torch.tensor([[1.0, 0.9, 0.8], [1.0, 0.0, -1.0]])
    rows, columns = torch.tensor([0.7, 0.3]), torch.tensor([0.2, 0.3, 0.5])
    plan = transport_plan(similarity, rows, columns)
    assert torch.allclose(plan.sum(dim=1), rows, atol=1e-5)
    assert torch.allclose(plan.sum(dim=0), columns, atol=1e-5)
    table, best = transport_log_weights(similarity, rows, columns, 2.0)
    assert table.isfinite().all()
    assert best.tolist() == [2, 0]
    assert transport_log_weights(similarity, rows, columns, 0.0)[0].abs().max() == 0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((16.311653609863974, 28.48488357648938, 29.86950821959739),
         (32.29108857330901, 35.42383053276752, 23.98719565719884), 0.4040943720974183),
        ((20.676160, 9.612783, 29.383688), (52.245639, 24.284555, 18.109758), 0.0776329),
        ((0.0, 0.0, 1.0), (0.0, 0.0, 1.0), 1.0),
        ((0.0, 0.0, 2.0), (0.0, 0.0, 1.0), 0.25),
        ((0.0, 0.0, 1.0), (9.0, 0.0, 1.0), 0.0),
    ],
)  # fmt: skip
def test_circle_iou(first: tuple[float, ...], second: tuple[float, ...], expected: float) -> None:
    iou = circle_iou(torch.tensor([first]), torch.tensor([second]))
    assert abs(float(iou) - expected) < 1e-4


def test_region_circle_is_centroid_and_farthest_cell() -> None:
    mask = torch.zeros(10, 10)
    mask[4:6, 2:8] = 1
    assert torch.allclose(
        region_circle(mask), torch.tensor([0.5, 0.5, (0.25**2 + 0.05**2) ** 0.5]), atol=1e-5
    )
