"""Convert between sRGB and CIE Lab, and keep a picture's chroma."""

import torch
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_BISECTIONS = 12  # resolve chroma to 1/4096, finer than 8 bits
_KAPPA, _EPSILON = 24389 / 27, 216 / 24389
_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)


def luminance(colors: Tensor) -> Tensor:
    """Return the luma (H, W) of colors, or of color differences, (3, H, W)."""
    return torch.einsum("c,chw->hw", colors.new_tensor(_LUMA), colors)


def rgb_to_lab(pixels: Tensor) -> Tensor:
    """Convert sRGB (B, 3, H, W) in [0, 1] to CIE Lab (white D65): L 0 to 100, a and b signed."""
    linear = torch.where(
        pixels <= 0.04045, pixels / 12.92, ((pixels.clamp(min=0) + 0.055) / 1.055) ** 2.4
    )
    # Rows are divided by the white point, so that white has XYZ (1, 1, 1).
    matrix = torch.tensor(_TO_XYZ)
    matrix = matrix / matrix.sum(dim=1, keepdim=True)
    xyz = torch.einsum("ij,bjhw->bihw", matrix, linear)
    root = torch.where(xyz > _EPSILON, xyz.clamp(min=0) ** (1 / 3), (_KAPPA * xyz + 16) / 116)
    x, y, z = root.unbind(dim=1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert CIE Lab (B, 3, H, W) to sRGB in [0, 1].

    Colors outside the sRGB gamut keep lightness and hue and lose as little chroma as possible.
    Clipping single channels would shift hue and lightness.
    """
    rgb = _lab_to_any_rgb(lab)
    outside = ((rgb < -1e-4) | (rgb > 1 + 1e-4)).any(dim=1)
    if outside.any():
        colors = lab.movedim(1, -1)[outside].T[None, :, :, None]  # (1, 3, N, 1)
        rgb.movedim(1, -1)[outside] = _less_chroma(colors)[0, :, :, 0].T
    return rgb.clamp(0, 1)


def keep_chroma(restyled: Tensor, content: Tensor) -> Tensor:
    """Combine the lightness of `restyled` with the hue and chroma of `content`.

    Args:
        restyled: (B, 3, H, W) in [0, 1].
        content: Same shape and range.
    """
    lightness = rgb_to_lab(restyled)[:, :1]
    return lab_to_rgb(torch.cat([lightness, rgb_to_lab(content)[:, 1:]], dim=1))


def _lab_to_any_rgb(lab: Tensor) -> Tensor:
    """Convert without gamut mapping: results may lie outside [0, 1]."""
    lightness, a, b = lab.unbind(dim=1)
    y = (lightness + 16) / 116
    root = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    xyz = torch.where(root**3 > _EPSILON, root**3, (116 * root - 16) / _KAPPA)
    matrix = torch.tensor(_TO_XYZ, dtype=torch.float64)
    inverse = torch.linalg.inv(matrix / matrix.sum(dim=1, keepdim=True)).float()
    linear = torch.einsum("ij,bjhw->bihw", inverse, xyz)
    return torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055
    )


def _less_chroma(lab: Tensor) -> Tensor:
    """Reduce chroma, by bisection, to the largest share that lies in the sRGB gamut."""
    low = torch.zeros_like(lab[:, :1])
    high = torch.ones_like(low)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        rgb = _lab_to_any_rgb(torch.cat([lab[:, :1], lab[:, 1:] * middle], dim=1))
        inside = ((rgb >= 0) & (rgb <= 1)).all(dim=1, keepdim=True)
        low = torch.where(inside, middle, low)
        high = torch.where(inside, high, middle)
    return _lab_to_any_rgb(torch.cat([lab[:, :1], lab[:, 1:] * low], dim=1)).clamp(0, 1)
