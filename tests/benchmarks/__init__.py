"""Benchmarks, run by hand; README.md describes them and their results."""
