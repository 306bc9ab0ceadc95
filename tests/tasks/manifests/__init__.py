"""Tests of tasks/manifests."""
