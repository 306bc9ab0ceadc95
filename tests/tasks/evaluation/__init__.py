"""Tests of tasks/evaluation."""
