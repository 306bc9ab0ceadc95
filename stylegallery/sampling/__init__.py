"""Samplers: optimization of the clean latent, and guided DDIM sampling."""
