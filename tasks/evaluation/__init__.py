"""Measure the results of a run."""
