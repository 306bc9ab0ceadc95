"""Write ICC profiles from primaries and a tone curve, for files that give these as numbers.

The layout follows ICC.1:2010, sections 7.2 (header), 7.3 (tag table) and 10 (tag types).
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Chromaticity = tuple[float, float]
"""CIE x and y."""

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


@dataclass(frozen=True)
class ToneCurve:
    """Map encoded to linear values: (a·x + b)^gamma from `knee` upwards, c·x below."""

    gamma: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    knee: float = 0.0


@dataclass(frozen=True)
class ColorSpace:
    """An RGB color space.

    Attributes:
        red: Chromaticity of the red primary.
        green: Chromaticity of the green primary.
        blue: Chromaticity of the blue primary.
        white: Chromaticity of the white point.
        curve: Maps encoded to linear values.
    """

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity
    curve: ToneCurve


def rgb_profile(space: ColorSpace) -> bytes:
    """Return the matrix profile of a color space.

    Raises:
        ValueError: the primaries do not span a color space.
    """
    colorants = _adapted(space)
    tags = {b"wtpt": _xyz(_D50)}
    for number, name in enumerate((b"r", b"g", b"b")):
        tags[name + b"XYZ"] = _xyz(colorants[:, number])
        tags[name + b"TRC"] = _curve(space.curve)
    return _profile(b"RGB ", tags)


def gray_profile(curve: ToneCurve) -> bytes:
    """Return a gray profile with a tone curve."""
    return _profile(b"GRAY", {b"wtpt": _xyz(_D50), b"kTRC": _curve(curve)})


def _adapted(space: ColorSpace) -> NDArray[np.float64]:
    """Return the XYZ of red, green and blue as columns, Bradford-adapted to D50."""
    points = (space.red, space.green, space.blue, space.white)
    if any(not (np.isfinite((x, y)).all() and y > 0) for x, y in points):
        raise ValueError("a chromaticity is not a color")
    *primaries, white = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in points)
    columns = np.stack(primaries, axis=1)
    try:
        scaled = columns * np.linalg.solve(columns, white)
    except np.linalg.LinAlgError as error:
        raise ValueError("the primaries do not span a color space") from error
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD @ scaled
    if not (np.abs(adapted) < 16).all():  # also refuses NaN
        raise ValueError("the primaries do not span a color space")
    return adapted


def _profile(colors: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text("stylegallery"), b"cprt": _text("none"), **tags}
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI4s4s4s", offset + len(body), 0x04200000, b"mntr", colors, b"XYZ ")
    header += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp")
    header = header.ljust(68, b"\0") + b"".join(map(_s15, _D50))
    return header.ljust(128, b"\0") + table + body


def _text(text: str) -> bytes:
    """Return a multiLocalizedUnicodeType (10.13) with one English text."""
    data = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(data), 28) + data


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_s15, values))


def _curve(curve: ToneCurve) -> bytes:
    """Return a parametricCurveType (10.16) of function type 3."""
    numbers = (curve.gamma, curve.a, curve.b, curve.c, curve.knee)
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + b"".join(map(_s15, numbers))


def _s15(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))
