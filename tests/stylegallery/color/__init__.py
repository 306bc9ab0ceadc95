"""Tests of stylegallery/color."""
