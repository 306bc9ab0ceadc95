"""Tests of tasks/results."""
