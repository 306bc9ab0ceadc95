"""Contrastive adapters: learn the texture of a reference apart from what it shows."""
