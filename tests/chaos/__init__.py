"""Runs with all kinds of faults at once, whose results must equal those of a run without faults."""
