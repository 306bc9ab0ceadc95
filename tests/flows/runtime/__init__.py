"""Tests of flows/runtime."""
