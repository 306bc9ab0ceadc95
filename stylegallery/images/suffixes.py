"""File name endings: which image files the engine opens, and which it knows but cannot."""

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
"""Lower-case endings of the formats in :data:`stylegallery.images.opening.FORMATS`."""

UNREAD_SUFFIXES: Final = frozenset({
    ".ai", ".apng", ".eps", ".exr", ".hdr", ".heic", ".heics", ".heif", ".hif", ".ico", ".j2k",
    ".jp2", ".jpx", ".jxl", ".pdf", ".psb", ".psd", ".svg", ".tga", ".xcf",
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".iiq", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw",
    ".rw2", ".srw",
})  # fmt: skip
"""Lower-case endings of pictures that it does not open: other formats, raw files of cameras."""
