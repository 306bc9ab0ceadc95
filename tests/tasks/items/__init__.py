"""Tests of tasks/items."""
