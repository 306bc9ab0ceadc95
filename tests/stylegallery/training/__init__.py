"""Tests of stylegallery/training."""
