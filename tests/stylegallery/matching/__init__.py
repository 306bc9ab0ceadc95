"""Tests of stylegallery/matching."""
