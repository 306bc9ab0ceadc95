"""Energies on self-attention features that guide a latent towards its references."""
