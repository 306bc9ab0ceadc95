"""Metrics of one result in the benchmarks."""

import torch
from skimage.color import rgb2lab
from torch import Tensor, nn
from torch.nn import functional as F

from stylegallery.matching.correspondence import Correspondence
from stylegallery.metrics.content import edge_agreement, luminance_ssim
from stylegallery.metrics.style import gram_distance, style_features
from stylegallery.types import PreparedImage

SAME = 0.9  # common share of their styles from which figure and ground count as collapsed


def score(
    net: nn.Module, out: Tensor, content: PreparedImage, styles: list[PreparedImage],
    routing: Correspondence, named: tuple[PreparedImage, list[PreparedImage], Correspondence],
) -> dict[str, float]:  # fmt: skip
    """Return the metrics of one result.

    Args:
        net: EfficientNet-Lite0.
        out: (1, 3, H, W) result.
        content: Content of the result.
        styles: References of the result.
        routing: Routing of the result.
        named: Content, references and routing of the default method, whose regions are used for
            the regional style distance of every variant.
    """
    original = content.picture.pixels
    before = _mean_gram(net, original, styles)
    return {
        "gram": _mean_gram(net, out, styles) / before,
        "regional gram": _regional(net, out, *named) / _regional(net, original, *named),
        "ssim": luminance_ssim(out, original),
        "edges": edge_agreement(out, original),
        "contrast": _contrast(out, named[0]) / max(_contrast(original, named[0]), 1e-6),
        **routing_metrics(content, styles, routing),
    }


def routing_metrics(
    content: PreparedImage, styles: list[PreparedImage], routing: Correspondence
) -> dict[str, float]:
    """Return whether figure and ground collapse (0 or 1), and the used share of the references.

    Both follow from the routing: each content region distributes its attention over the style
    regions by their area times the exponential of the bias. Figure and ground are the largest
    regions with little and with much border contact. They collapse if nine tenths of their
    distributions are equal and the references have more than one region. A style region is used up
    to the share of its area that the content regions, distributed in this way, cover.
    """
    areas = torch.cat([style.descriptors.area for style in styles])
    areas = areas / areas.sum()
    spread = (routing.log_weights.exp() * areas).nan_to_num()
    spread = spread / spread.sum(1, keepdim=True).clamp(min=1e-12)
    cover = content.descriptors.area @ spread
    metrics = {"area used": float(torch.minimum(cover, areas).sum())}
    figure, ground = figure_and_ground(content)
    if figure is not None and ground is not None and len(areas) > 1:
        common = float(torch.minimum(spread[figure], spread[ground]).sum())
        metrics["collapse"] = float(common >= SAME)
    return metrics


def figure_and_ground(content: PreparedImage) -> tuple[int | None, int | None]:
    """Return the largest region with little border contact and the largest with much."""
    described = content.descriptors
    inner = described.contact < 1
    found = [
        int(torch.where(side, described.area, -1).argmax()) if side.any() else None
        for side in (inner, ~inner)
    ]
    return found[0], found[1]


def _mean_gram(net: nn.Module, image: Tensor, styles: list[PreparedImage]) -> float:
    made = style_features(net, image)
    found = [gram_distance(made, style_features(net, style.picture.pixels)) for style in styles]
    return sum(found) / len(found)


def _regional(
    net: nn.Module, image: Tensor, content: PreparedImage, styles: list[PreparedImage],
    routing: Correspondence,
) -> float:  # fmt: skip
    """Return the Gram distance of content regions to their best matches, averaged by area."""
    total, made = 0.0, style_features(net, image)
    references = [style_features(net, style.picture.pixels) for style in styles]
    for region, index in enumerate(routing.best.tolist()):
        style, other = routing.locate(index)
        masks = (content.regions.labels == region, styles[style].regions.labels == other)
        distance = gram_distance(made, references[style], *masks)
        total += float(content.descriptors.area[region]) * distance
    return total


def _contrast(image: Tensor, content: PreparedImage) -> float:
    """Return the color difference (CIE76) of the mean colors of figure and ground."""
    figure, ground = figure_and_ground(content)
    if figure is None or ground is None:
        return 0.0
    lab = torch.from_numpy(rgb2lab(image[0].permute(1, 2, 0).numpy())).permute(2, 0, 1)
    labels = F.interpolate(content.regions.labels[None, None].float(), lab.shape[1:])[0, 0]
    means = [lab[:, labels == region].mean(1) for region in (figure, ground)]
    return float((means[0] - means[1]).norm())
