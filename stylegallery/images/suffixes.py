"""Suffixes of image files: those the engine opens, and those it knows but cannot open."""

from typing import Final

IMAGE_SUFFIXES: Final = (
    ".avif",
    ".bmp",
    ".gif",
    ".jfif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".mpo",
    ".pjp",
    ".pjpeg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)
"""Lower-case suffixes of the formats in :data:`stylegallery.images.opening.FORMATS`."""

UNREAD_SUFFIXES: Final = frozenset({
    ".ai", ".apng", ".eps", ".exr", ".hdr", ".heic", ".heics", ".heif", ".hif", ".ico", ".j2k",
    ".jp2", ".jpx", ".jxl", ".pdf", ".psb", ".psd", ".svg", ".tga", ".xcf",
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".iiq", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw",
    ".rw2", ".srw",
})  # fmt: skip
"""Lower-case suffixes of image files it cannot open: other formats and camera raw files."""
