"""Tests of stylegallery/metrics."""
