"""Compare methods on the same pairs, model and machine."""
