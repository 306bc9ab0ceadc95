"""Samplers: optimisation of the latent, and guided DDIM sampling."""
