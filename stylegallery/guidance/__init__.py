"""The energies that guide sampling, and the attention features they compare."""
