"""Tests of tasks/storage."""
