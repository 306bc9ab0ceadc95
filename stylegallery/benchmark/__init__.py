"""Compare methods on the same pairs of photo and style, on one model and one machine."""
