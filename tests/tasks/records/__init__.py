"""Tests of tasks/records."""
