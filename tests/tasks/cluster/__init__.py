"""Tests of tasks/cluster."""
