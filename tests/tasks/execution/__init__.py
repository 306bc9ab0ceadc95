"""Tests of tasks/execution."""
