"""What the benchmarks measure of one result."""

import torch
from skimage.color import rgb2lab
from torch import Tensor, nn
from torch.nn import functional as F

from stylegallery.matching.correspondence import Correspondence
from stylegallery.metrics.content import edge_agreement, luminance_ssim
from stylegallery.metrics.style import gram_distance, style_features
from stylegallery.types import PreparedImage

SAME = 0.9  # share of their styles that figure and ground have in common when they collapse


def judge(
    net: nn.Module, out: Tensor, content: PreparedImage, styles: list[PreparedImage],
    routing: Correspondence, named: tuple[PreparedImage, list[PreparedImage], Correspondence],
) -> dict[str, float]:  # fmt: skip
    """Return the figures of one result.

    Args:
        out: (1, 3, H, W) result.
        content, styles, routing: What it was made from.
        named: Content, references and routing of the default method, whose regions every
            variant's regional style distance is measured on.
    """
    original = content.picture.pixels
    before = _mean_gram(net, original, styles)
    return {
        "gram": _mean_gram(net, out, styles) / before,
        "regional gram": _regional(net, out, *named) / _regional(net, original, *named),
        "ssim": luminance_ssim(out, original),
        "edges": edge_agreement(out, original),
        "contrast": _contrast(out, named[0]) / max(_contrast(original, named[0]), 1e-6),
        **routing_figures(content, styles, routing),
    }


def routing_figures(
    content: PreparedImage, styles: list[PreparedImage], routing: Correspondence
) -> dict[str, float]:
    """Return whether figure and ground collapse (0 or 1) and what share of references is used.

    Both are read off the routing: each content region spreads its attention over the style
    regions by their area times the exponential of the bias. Figure and ground (the largest
    region of little and of much border contact) collapse when these spreads have nine tenths in
    common, the references having more than one region. A style region is used as far as the
    content regions' areas, spread so, cover its own.
    """
    areas = torch.cat([style.descriptors.area for style in styles])
    areas = areas / areas.sum()
    spread = (routing.log_weights.exp() * areas).nan_to_num()
    spread = spread / spread.sum(1, keepdim=True).clamp(min=1e-12)
    cover = content.descriptors.area @ spread
    figures = {"area used": float(torch.minimum(cover, areas).sum())}
    figure, ground = figure_and_ground(content)
    if figure is not None and ground is not None and len(areas) > 1:
        common = float(torch.minimum(spread[figure], spread[ground]).sum())
        figures["collapse"] = float(common >= SAME)
    return figures


def figure_and_ground(content: PreparedImage) -> tuple[int | None, int | None]:
    """Return the largest region that hardly touches the border and the largest that does."""
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
    """Gram distance of each content region to its main match, by area."""
    total, made = 0.0, style_features(net, image)
    looks = [style_features(net, style.picture.pixels) for style in styles]
    for region, index in enumerate(routing.best.tolist()):
        style, other = routing.locate(index)
        masks = (content.regions.labels == region, styles[style].regions.labels == other)
        distance = gram_distance(made, looks[style], *masks)
        total += float(content.descriptors.area[region]) * distance
    return total


def _contrast(image: Tensor, content: PreparedImage) -> float:
    """Color difference (CIE76) of the mean colors of figure and ground."""
    figure, ground = figure_and_ground(content)
    if figure is None or ground is None:
        return 0.0
    lab = torch.from_numpy(rgb2lab(image[0].permute(1, 2, 0).numpy())).permute(2, 0, 1)
    labels = F.interpolate(content.regions.labels[None, None].float(), lab.shape[1:])[0, 0]
    means = [lab[:, labels == region].mean(1) for region in (figure, ground)]
    return float((means[0] - means[1]).norm())
