"""Learnt styles: small changes of a UNet's layers, learnt from references (arXiv 2106.09685)."""
